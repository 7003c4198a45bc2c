//! A fault of the gateway's own, met where requests are let in, passed on and answered.

use std::io::Write;

use crate::{
    backends::{After, Backend, pool},
    platform::eventually,
    wire::handshake,
};

#[test]
fn a_panic_costs_the_request_that_meets_it_and_nothing_else() {
    let backend = Backend::start(|head, stream| {
        let wish = if head.starts_with("GET /pool/respond") || head.starts_with("GET /pool/ws/respond") {
            "test-panic: respond\r\n"
        } else {
            ""
        };
        write!(stream, "HTTP/1.1 200 OK\r\n{wish}Content-Length: 4\r\n\r\nwell").unwrap();
        After::Keep
    });
    let platform = pool(&[backend.address], "")
        .append("routes.toml", "websocket = true\n")
        .env("PORTCULLIS_TEST_PANIC", "1")
        .start();
    let ask = |path: &str, wish: &str| {
        if path.starts_with("/pool/ws") {
            let asked = handshake(path, &[("test-panic", wish), ("Connection", "close")]);
            return platform.raw(asked.as_bytes());
        }
        platform.send("GET", path, &[("test-panic", wish)], "")
    };
    let wishes = [
        ("/pool/x", "admit"),
        ("/pool/x", "forward"),
        ("/pool/respond", "none"),
        ("/pool/ws", "admit"),
        ("/pool/ws", "forward"),
        ("/pool/ws/respond", "none"),
    ];
    for (met, (path, wish)) in wishes.into_iter().enumerate() {
        let answer = ask(path, wish);
        assert_eq!((answer.status, answer.code()), (500, "internal".to_owned()), "{wish}: {answer:?}");
        assert_eq!(platform.metric("portcullis_panics_total"), met as u64 + 1, "{wish}");
        assert_eq!(ask("/pool/x", "none").status, 200);
        eventually("nothing of it is left", || platform.metric("portcullis_requests_in_flight") == 0);
    }
}
