//! Where bodies end, and which chunks are none.

use proptest::prelude::*;

use super::*;

/// Reads piece by piece; how many bytes the body takes of all, if it ends.
fn end_of(mut body: Body, bytes: &[u8], piece: usize) -> Result<Option<usize>, Refusal> {
    let mut taken = 0;
    while taken < bytes.len() && !body.is_done() {
        let until = bytes.len().min(taken + piece);
        taken += body.read(&bytes[taken..until])?;
    }
    Ok(body.is_done().then_some(taken))
}

fn chunked(text: &str) -> Result<Option<usize>, Refusal> {
    end_of(Framing::Chunked.into(), text.as_bytes(), usize::MAX / 2)
}

#[test]
fn a_body_of_a_length_ends_there() {
    assert_eq!(end_of(Framing::Length(3).into(), b"abcdef", 2), Ok(Some(3)));
    assert_eq!(end_of(Framing::Length(0).into(), b"abcdef", 2), Ok(Some(0)));
    assert_eq!(end_of(Framing::Length(9).into(), b"abcdef", 9), Ok(None));
}

#[test]
fn a_chunked_body_ends_after_its_trailers() {
    for text in [
        "0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "00A\r\n0123456789\r\n0\r\n\r\n",
        "10\r\n0123456789abcdef\r\n0\r\n\r\n",
        "3;name=value\r\nabc\r\n0;x\r\n\r\n",
        "3 ; name=\"v\"\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
    ] {
        assert_eq!(chunked(&format!("{text}GET /next")), Ok(Some(text.len())), "{text:?}");
    }
    assert_eq!(chunked("3\r\nabc\r\n0\r\n"), Ok(None));
}

#[test]
fn size_lines_and_trailers_are_bounded() {
    let sized = |line: usize| chunked(&format!("0;{}\r\n\r\n", "a".repeat(line - 4)));
    assert_eq!((sized(256).is_ok(), sized(257).is_ok()), (true, false));
    // Six bytes each, and the two that end them.
    let trailed = |count: usize| chunked(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(count)));
    assert_eq!((trailed(1365).is_ok(), trailed(1366).is_ok()), (true, false));
}

#[test]
fn a_chunk_that_could_be_read_in_two_ways_is_refused() {
    for text in [
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        "\r\n",
        "-3\r\nabc\r\n",
        "+3\r\nabc\r\n",
        "0x3\r\nabc\r\n",
        " 3\r\nabc\r\n",
        "3 \r\nabc\r\n",
        "3g\r\nabc\r\n",
        "1234567890123456\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\n folded: x\r\n\r\n",
        "0\r\nA: b\n\r\n",
        "0\n\n",
    ] {
        assert!(chunked(text).is_err(), "{text:?}");
    }
    assert!(chunked(&format!("3;{}\r\n", "a".repeat(300))).is_err());
    assert!(chunked(&format!("0\r\n{}", "A: b\r\n".repeat(2000))).is_err());
    assert!(chunked(&"1".repeat(400)).is_err(), "a line without an end");
}

proptest! {
    #[test]
    fn the_end_of_a_chunked_body_does_not_depend_on_how_it_arrives(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5),
        piece in 1_usize..20,
    ) {
        let mut text = Vec::new();
        for chunk in &chunks {
            text.extend(format!("{:x}\r\n", chunk.len()).bytes());
            text.extend(chunk);
            text.extend(b"\r\n");
        }
        text.extend(b"0\r\n\r\n");
        let whole = text.len();
        text.extend(b"GET / HTTP/1.1\r\n");
        prop_assert_eq!(end_of(Framing::Chunked.into(), &text, piece), Ok(Some(whole)));
    }
}
