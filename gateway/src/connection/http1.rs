//! What a client's HTTP/1 bytes are: heads and bodies in turn, and which of them Pingora may see now.
//!
//! A head is passed on whole or not at all, and the next one not before the request before it has been answered; bytes that come
//! early wait here. After a 101 the bytes are another protocol's and pass as they are. Pure: reading and writing is
//! [`super::guarded`]'s.

use policies::Refusal;

use super::{
    body::Body,
    head::{HeadLimits, HeadReader},
};

/// Follows one connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is awaited or not")]
pub(crate) struct Http1 {
    limits: HeadLimits,
    state: State,
    /// Has a head been passed on whose answer is not complete? Until then no other is.
    in_flight: bool,
    /// Did the request ask for another protocol?
    asked_upgrade: bool,
    /// Did the request bring a body?
    has_body: bool,
    /// Has its answer begun? What only informs comes before it.
    has_begun: bool,
    /// Is the head of that answer all that was written of it, and is still to be asked about?
    is_head_alone: bool,
    /// May an empty line come before the next request?
    may_skip: bool,
}

#[derive(Debug)]
enum State {
    Head(HeadReader),
    Body(Body),
    /// Another protocol has been agreed on.
    Tunnel,
}

/// What the connection waits for when nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The client may be silent: nothing is owed.
    Nothing,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
}

/// A request that goes no further.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misread {
    /// Why.
    pub(crate) refusal: Refusal,
    /// Bytes before it that are in order.
    pub(crate) passed: usize,
    /// Was it in a body? Then whoever reads that body answers.
    pub(crate) in_body: bool,
}

// === impl Http1 ===

impl Http1 {
    /// A connection of which nothing has come yet.
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            state: State::Head(HeadReader::default()),
            in_flight: false,
            asked_upgrade: false,
            has_body: false,
            has_begun: false,
            is_head_alone: false,
            may_skip: false,
        }
    }

    /// How many of `bytes` are an empty line that nobody is to see: old clients end a body with one that its length does not count,
    /// so one may stand between two requests (RFC 9112 §2.2). To be asked before they are judged.
    pub(crate) fn skip(&mut self, bytes: &[u8]) -> usize {
        let is_empty_line = self.may_skip && bytes.starts_with(b"\r\n");
        self.may_skip &= !is_empty_line;
        if is_empty_line { 2 } else { 0 }
    }

    /// Could `bytes` begin with one?
    pub(crate) fn may_skip(&self, bytes: &[u8]) -> bool {
        self.may_skip && bytes.first() == Some(&b'\r')
    }

    /// How many of `bytes` may be passed on. Those that may not are shown again, with what comes after them.
    pub(crate) fn judge(&mut self, bytes: &[u8]) -> Result<usize, Misread> {
        let mut passed = 0;
        loop {
            let rest = &bytes[passed..];
            match &mut self.state {
                State::Tunnel => return Ok(bytes.len()),
                State::Head(_) if self.in_flight => return Ok(passed),
                State::Head(_) if self.may_skip && rest == b"\r" => return Ok(passed),
                State::Head(reader) => match reader.read(rest, &self.limits) {
                    Ok(None) => return Ok(passed),
                    Ok(Some(head)) => {
                        passed += head.len;
                        (self.in_flight, self.may_skip) = (true, false);
                        self.asked_upgrade = head.asks_upgrade;
                        let body = Body::from(head.framing);
                        self.has_body = !body.is_done();
                        self.state = State::Body(body);
                    }
                    Err(refusal) => return Err(Misread { refusal, passed, in_body: false }),
                },
                State::Body(body) => {
                    passed += body.read(rest).map_err(|refusal| Misread { refusal, passed, in_body: true })?;
                    // What follows a request that asks for another protocol may be that protocol's.
                    if !body.is_done() || (self.asked_upgrade && !self.has_begun) {
                        return Ok(passed);
                    }
                    self.state = State::Head(HeadReader::default());
                }
            }
        }
    }

    /// The answer is complete and the next request may come, of which `some` bytes have come before their time. `false` if the
    /// last one has not come whole, so that what follows would be taken for a request (SECURITY §3, CVE-2025-4366), or asked
    /// for another protocol, so that what came early may be that protocol's (CVE-2026-2833).
    #[must_use]
    pub(crate) fn next_request(&mut self, some: bool) -> bool {
        if std::mem::take(&mut self.asked_upgrade) && some {
            return false;
        }
        if let State::Body(body) = &self.state {
            if !body.is_done() {
                return false;
            }
            self.state = State::Head(HeadReader::default());
        }
        (self.in_flight, self.has_begun, self.is_head_alone, self.may_skip) = (false, false, false, true);
        !matches!(self.state, State::Tunnel)
    }

    /// Looks at what is sent to the client, for the beginning of its answer and for the 101 that ends HTTP.
    pub(crate) fn sees_written(&mut self, bytes: &[u8]) {
        self.is_head_alone = false;
        if self.has_begun || bytes.is_empty() {
            return;
        }
        if self.asked_upgrade && bytes.starts_with(b"HTTP/1.1 101") {
            self.state = State::Tunnel;
        }
        self.has_begun = self.is_tunnel() || !bytes.starts_with(b"HTTP/1.1 1");
        self.is_head_alone = self.has_begun && !self.is_tunnel();
    }

    /// May what was written wait for more: the head of an answer, of whose body nothing was? Only once: who asks again has no more to say.
    ///
    /// Not while the client's body may be on its way: Pingora listens to no client whose body its server does not take, and it is when it
    /// listens that what waits is sent.
    pub(crate) fn may_wait_for_more(&mut self) -> bool {
        std::mem::take(&mut self.is_head_alone) && !self.has_body
    }

    /// Has the answer begun? It may lie gathered or have been taken in part.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Has another protocol been agreed on?
    pub(crate) fn is_tunnel(&self) -> bool {
        matches!(self.state, State::Tunnel)
    }

    /// Has the client asked all that it asks, and is owed the answer?
    pub(crate) fn is_owed(&self) -> bool {
        self.in_flight
            && match &self.state {
                State::Head(_) => true,
                // It asked for another protocol, and has not heard whether it may.
                State::Body(body) => body.is_done(),
                State::Tunnel => false,
            }
    }

    /// Does the request whose head is being read ask for nothing but a head?
    pub(crate) fn is_for_head(&self) -> bool {
        matches!(&self.state, State::Head(reader) if reader.is_for_head())
    }

    /// What the client owes us.
    pub(crate) fn awaits(&self) -> Awaited {
        match &self.state {
            State::Head(_) if !self.in_flight => Awaited::Head,
            State::Body(body) if !body.is_done() => Awaited::Body,
            State::Head(_) | State::Body(_) | State::Tunnel => Awaited::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const BAD: &[u8] = b"GET / HTTP/1.1\nHost: x\r\n\r\n";
    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    const WEBSOCKET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

    fn http1() -> Http1 {
        Http1::new(HeadLimits { bytes: 4096, fields: 16 })
    }

    #[test]
    fn a_head_passes_whole_or_not_at_all() {
        let mut http1 = http1();
        for cut in 0..GET.len() {
            assert_eq!(http1.judge(&GET[..cut]), Ok(0), "{cut}");
            assert_eq!(http1.awaits(), Awaited::Head);
        }
        assert_eq!(http1.judge(GET), Ok(GET.len()));
        assert_eq!(http1.awaits(), Awaited::Nothing);
    }

    #[test]
    fn the_next_request_waits_until_the_one_before_is_answered() {
        let mut http1 = http1();
        let two = [GET, BAD].concat();
        assert_eq!(http1.judge(&two), Ok(GET.len()));
        assert_eq!(http1.judge(BAD), Ok(0), "not looked at yet");
        assert!(http1.next_request(false));
        let misread = http1.judge(BAD).expect_err("a bare LF");
        assert_eq!((misread.passed, misread.in_body), (0, false));
    }

    #[test]
    fn one_empty_line_between_two_requests_is_skipped_and_none_elsewhere() {
        let mut http1 = http1();
        let empty_line = b"\r\n";
        assert_eq!(http1.skip(empty_line), 0, "before the first request");
        assert!(http1.judge(empty_line).is_err());
        let mut http1 = self::http1();
        assert_eq!(http1.judge(&[POST, b"3\r\nabc"].concat()), Ok(POST.len() + 6));
        assert_eq!(http1.skip(empty_line), 0, "in a body");
        assert_eq!(http1.judge(b"\r\n0\r\n\r\n\r\n"), Ok(7));
        assert_eq!((http1.skip(empty_line), http1.judge(empty_line)), (0, Ok(0)), "before the answer");
        assert!(http1.next_request(true));
        assert_eq!((http1.skip(b"\r"), http1.judge(b"\r")), (0, Ok(0)), "it may be one");
        assert_eq!((http1.skip(empty_line), http1.skip(empty_line)), (2, 0), "one");
        assert!(http1.judge(b"\r").is_err());
    }

    #[test]
    fn what_only_looks_like_an_empty_line_is_refused() {
        for bytes in [&b"\n"[..], b"\r\r\n", b"\rGET", b" \r\n"] {
            let mut http1 = http1();
            assert!(http1.judge(GET).is_ok() && http1.next_request(true));
            assert!(http1.skip(bytes) == 0 && http1.judge(bytes).is_err(), "{bytes:?}");
        }
        let mut http1 = http1();
        assert!(http1.judge(GET).is_ok() && http1.next_request(false));
        assert_eq!((http1.judge(&GET[..5]), http1.judge(GET)), (Ok(0), Ok(GET.len())));
        assert_eq!(http1.skip(b"\r\n"), 0, "a request has begun");
    }

    #[test]
    fn a_body_passes_as_it_comes_and_its_end_is_known() {
        let mut http1 = http1();
        assert_eq!(http1.judge(&[POST, b"3\r\nab"].concat()), Ok(POST.len() + 5));
        assert_eq!(http1.awaits(), Awaited::Body);
        assert!(!http1.next_request(false), "a body that has not come whole");
        assert_eq!(http1.judge(&[b"c\r\n0\r\n\r\n", GET].concat()), Ok(8));
        assert!(http1.next_request(false));
        assert_eq!(http1.judge(GET), Ok(GET.len()));
    }

    #[test]
    fn requests_that_came_together_are_taken_one_after_the_other() {
        let mut http1 = http1();
        assert_eq!(http1.judge(&[GET, GET].concat()), Ok(GET.len()));
        assert!(http1.next_request(true));
        assert_eq!(http1.judge(GET), Ok(GET.len()));
    }

    #[test]
    fn an_answer_is_owed_to_whoever_has_asked_all() {
        let mut http1 = http1();
        assert!(!http1.is_owed());
        assert!(http1.judge(&[POST, b"3\r\nab"].concat()).is_ok() && !http1.is_owed());
        assert!(http1.judge(b"c\r\n0\r\n\r\n").is_ok() && http1.is_owed());
        assert!(http1.next_request(false) && !http1.is_owed());
        assert!(http1.judge(WEBSOCKET).is_ok() && http1.is_owed());
        http1.sees_written(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        assert!(!http1.is_owed());
    }

    #[test]
    fn that_nothing_but_a_head_is_asked_for_is_known_of_what_cannot_be_read() {
        for (bytes, is_for_head) in [
            (&b"HEAD /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"[..], true),
            (b"HEAD a HTTP/1.1\r\n", true),
            (b"HEAD /a HTTP/1.1\n", true),
            (b"HEADER /a HTTP/1.1\n", false),
            (b"head /a HTTP/1.1\n", false),
            (b"GET /HEAD HTTP/1.1\n", false),
        ] {
            let mut http1 = http1();
            assert!(http1.judge(bytes).is_err());
            assert_eq!(http1.is_for_head(), is_for_head, "{}", bytes.escape_ascii());
        }
        let mut http1 = http1();
        assert_eq!((http1.judge(b"HEAD /a HT"), http1.is_for_head()), (Ok(0), true));
    }

    #[test]
    fn what_is_wrong_in_a_body_is_said_to_be() {
        let misread = http1().judge(&[POST, b"3\nabc"].concat()).expect_err("a bare LF");
        assert!(misread.in_body);
    }

    #[test]
    fn nothing_is_tunnelled_before_a_101() {
        let mut http1 = http1();
        let early = [WEBSOCKET, GET].concat();
        assert_eq!(http1.judge(&early), Ok(WEBSOCKET.len()));
        assert_eq!((http1.awaits(), http1.is_tunnel()), (Awaited::Nothing, false));
        http1.sees_written(b"");
        http1.sees_written(b"HTTP/1.1 103 Early Hints\r\n\r\n");
        assert_eq!(http1.judge(GET), Ok(0));
        http1.sees_written(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        assert_eq!(http1.judge(b"\x81\x00"), Ok(2));
        assert_eq!((http1.awaits(), http1.is_tunnel()), (Awaited::Nothing, true));
        assert!(!http1.next_request(false), "there is no request after a tunnel");
    }

    #[test]
    fn an_answer_begins_with_its_first_bytes_and_not_with_what_only_informs() {
        let mut http1 = http1();
        for (request, answer) in [(GET, &b"HTTP/1.1 200 OK\r\nX: to"[..]), (WEBSOCKET, &b"HTTP/1.1 403"[..])] {
            assert!(http1.judge(request).is_ok());
            http1.sees_written(b"");
            http1.sees_written(b"HTTP/1.1 103 Early Hints\r\n\r\n");
            assert!(!http1.has_begun());
            http1.sees_written(answer);
            http1.sees_written(b"HTTP/1.1 100 is what the rest may look like");
            assert!(http1.has_begun());
            assert!(http1.next_request(false) && !http1.has_begun());
        }
        assert!(http1.judge(WEBSOCKET).is_ok());
        http1.sees_written(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        assert!(http1.has_begun());
    }

    #[test]
    fn a_head_waits_for_its_body_once_and_nothing_else_waits() {
        const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut http1 = http1();
        assert!(http1.judge(GET).is_ok());
        http1.sees_written(b"HTTP/1.1 103 Early Hints\r\n\r\n");
        assert!(!http1.may_wait_for_more(), "it informs now or never");
        http1.sees_written(HEAD);
        assert!(http1.may_wait_for_more() && !http1.may_wait_for_more());
        http1.sees_written(b"2\r\nok\r\n");
        assert!(!http1.may_wait_for_more());
        assert!(http1.next_request(false) && http1.judge(GET).is_ok());
        http1.sees_written(HEAD);
        http1.sees_written(b"2\r\nok\r\n");
        assert!(!http1.may_wait_for_more(), "it is not alone");
        assert!(http1.next_request(false) && http1.judge(&[POST, b"0\r\n\r\n"].concat()).is_ok());
        http1.sees_written(HEAD);
        assert!(!http1.may_wait_for_more(), "there was a body");
        assert!(http1.next_request(false) && http1.judge(WEBSOCKET).is_ok());
        http1.sees_written(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        assert!(!http1.may_wait_for_more(), "a tunnel waits for nothing");
    }

    #[test]
    fn a_refused_upgrade_goes_on_as_http() {
        let mut http1 = http1();
        assert_eq!(http1.judge(WEBSOCKET), Ok(WEBSOCKET.len()));
        http1.sees_written(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
        http1.sees_written(b"HTTP/1.1 101");
        assert!(http1.next_request(false));
        assert_eq!(http1.judge(BAD).map_err(|misread| misread.in_body), Err(false));
    }

    #[test]
    fn bytes_behind_a_refused_upgrade_are_no_request() {
        let mut http1 = http1();
        assert_eq!(http1.judge(&[WEBSOCKET, GET].concat()), Ok(WEBSOCKET.len()));
        http1.sees_written(b"HTTP/1.1 403 Forbidden\r\n\r\n");
        assert!(!http1.next_request(true));
    }
}
