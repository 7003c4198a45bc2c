//! What a head may be, and what it may not.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 8 };

fn read(text: &str) -> Result<Option<Head>, Refusal> {
    HeadReader::default().read(text.as_bytes(), &LIMITS)
}

fn framing(fields: &str) -> Result<Framing, Refusal> {
    let text = format!("POST /a HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    read(&text).map(|head| head.expect("a whole head").framing)
}

#[test]
fn a_plain_head_is_read_to_its_end_and_no_further() {
    let text = "GET /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let head = read(text).unwrap().unwrap();
    assert_eq!(head, Head { len: text.len() - 5, framing: Framing::Length(5), asks_upgrade: false });
    assert!(read("GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n").unwrap().unwrap().asks_upgrade);
    assert_eq!(read("GET /a HTTP/1.0\r\n\r\n").unwrap().unwrap().framing, Framing::Length(0));
    assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
}

#[test]
fn a_request_begins_with_its_first_line() {
    assert!(read("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n").is_err());
}

#[test]
fn a_request_line_is_three_plain_words() {
    for line in [
        "GET /a b HTTP/1.1",
        "GET  /a HTTP/1.1",
        " GET /a HTTP/1.1",
        "GET /a HTTP/1.1 ",
        "GET\t/a\tHTTP/1.1",
        "GET /a",
        "GET",
        "G(T /a HTTP/1.1",
        "GET http://x/a HTTP/1.1",
        "CONNECT x:443 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET \\a HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET /a HTTP/1.2",
        "GET /a HTTP/2.0",
        "GET /a http/1.1",
        "GET /a HTTP/1.1\r",
    ] {
        assert!(read(&format!("{line}\r\nHost: x\r\n\r\n")).is_err(), "{line:?}");
    }
}

#[test]
fn connection_names_a_few_fields_that_are_of_one_connection() {
    for plain in ["close", "Keep-Alive, Upgrade", "", ", close ,,", "x-user-id", "a,b,c,d,e,f,g,h,i"] {
        assert!(framing(&format!("Connection: {plain}\r\n")).is_ok(), "{plain:?}");
    }
    for odd in [
        "Host",
        "close, x-forwarded-FOR",
        "X-Forwarded-Host",
        "x-forwarded-proto",
        ":authority",
        "a b",
        "\"close\"",
        "a,b,c,d,e,f,g,h,i,j",
    ] {
        assert!(framing(&format!("Connection: {odd}\r\n")).is_err(), "{odd:?}");
    }
    assert!(framing("User-Agent: is as long (and is no list)\r\n").is_ok());
    assert!(framing("Connection: a,b,c,d,e\r\nConnection: f,g,h,i\r\n").is_ok());
    assert!(framing("Connection: a,b,c,d,e\r\nConnection: f,g,h,i,j\r\n").is_err());
}

#[test]
fn a_field_is_a_name_a_colon_and_a_value() {
    for field in [
        "no colon",
        "A: \u{1}\u{1} two of a kind",
        ": no name",
        "Name : space before the colon",
        "Na me: space in the name",
        "Name\t: tab",
        " folded",
        "\tfolded",
        "A: b\u{0}c",
        "A: b\rc",
        "A: b\u{7f}",
        "A: b\u{1b}[0m",
        "N\u{e9}: b",
        "\u{0}: b",
    ] {
        assert!(framing(&format!("{field}\r\n")).is_err(), "{field:?}");
    }
    for field in ["A:b", "A:", "A: \t b \t ", "A: caf\u{e9}", "X_Y: b", "!#$%&'*+-.^_`|~1: b"] {
        assert!(framing(&format!("{field}\r\n")).is_ok(), "{field:?}");
    }
}

#[test]
fn the_length_of_a_body_is_said_once_and_in_one_way() {
    for fields in [
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1 1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content_Length: 1\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Transfer.Encoding: chunked\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
    ] {
        assert!(framing(fields).is_err(), "{fields:?}");
    }
    assert!(read("POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    assert_eq!(framing("content-length: 123456789012345678\r\n"), Ok(Framing::Length(123_456_789_012_345_678)));
}

#[test]
fn a_length_of_nothing_is_one_digit() {
    assert_eq!(framing("Content-Length: 0\r\n"), Ok(Framing::Length(0)));
    assert!(framing("Content-Length: 00\r\n").is_err() && framing("Content-Length: 01\r\n").is_err());
}

#[test]
fn a_client_may_wait_for_a_hundred_and_for_nothing_else() {
    assert!(framing("Expect: 100-Continue\r\n").is_ok());
    assert_eq!(framing("Expect: 200-ok\r\n"), Err(Refusal::ExpectationFailed));
}

#[test]
fn a_field_as_long_as_one_that_counts_does_not_count() {
    let head = read(
        "GET / HTTP/1.1\r\nHost: x\r\nDate: a@b\r\nCookie: c\r\nReferer: d\r\nIf-None-Match: e\r\nIf-None-Match: f\r\n\
         Content-L_ngth: g\r\nIf-Modified-Since: h\r\n\r\n",
    );
    let head = head.unwrap().unwrap();
    assert_eq!((head.framing, head.asks_upgrade), (Framing::Length(0), false));
}

#[test]
fn a_target_holds_what_a_uri_may() {
    for (target, is_one) in
        [("/a?b=`", true), ("/a`", false), ("/\"", false), ("/a?\"", false), ("/<", false), ("/a?b>", false)]
    {
        assert_eq!(read(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).is_ok(), is_one, "{target}");
    }
}

#[test]
fn host_and_authorization_come_once() {
    assert!(framing("Host: x\r\n").is_err());
    assert!(read("GET / HTTP/1.1\r\n\r\n").is_err());
    assert_eq!(framing("Authorization: a\r\nauthorization: b\r\n"), Err(Refusal::AmbiguousCredentials));
}

#[test]
fn a_line_ends_with_cr_and_lf() {
    for text in [
        "GET / HTTP/1.1\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\nContent-Length: 3\r\n\r\n",
    ] {
        assert!(read(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_head_is_bounded_before_it_is_whole() {
    let fields = |count: usize| "A: b\r\n".repeat(count);
    assert!(framing(&fields(7)).is_ok());
    assert_eq!(framing(&fields(8)), Err(Refusal::HeadersTooLarge));
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(LIMITS.bytes));
    assert_eq!(read(&long), Err(Refusal::UriTooLong), "of a request line its target is what is too long");
    assert_eq!(read(&"a".repeat(LIMITS.bytes + 1)), Err(Refusal::UriTooLong));
    assert_eq!(framing(&format!("A: {}\r\n", "b".repeat(LIMITS.bytes))), Err(Refusal::HeadersTooLarge));
    assert_eq!(read(&"a".repeat(LIMITS.bytes)), Ok(None));
}

proptest! {
    /// However the bytes arrive, the verdict is the same.
    #[test]
    fn a_head_in_pieces_is_the_head_in_one(
        text in "(GET|P OST) /a(#|b)? HTTP/1\\.[01]\r?\n(Host: x\r\n|A: \u{1}\r\n|Content-Length: [0-9]{1,3}\r\n| b\r\n){0,4}\r\n[a-z]{0,5}",
        cuts in prop::collection::vec(0_usize..120, 0..6),
    ) {
        let bytes = text.as_bytes();
        let mut reader = HeadReader::default();
        let mut outcome = Ok(None);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([bytes.len()]).collect();
        cuts.sort_unstable();
        for cut in cuts {
            outcome = reader.read(&bytes[..cut], &LIMITS);
            if outcome != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(outcome, read(&text));
    }
}
