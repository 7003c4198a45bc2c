//! The cheapest honest upstream: HTTP/1.1 with keep-alive, requests without a body, always the same answer.
//!
//! It reads heads by their blank line and looks at nothing else, so that what it costs is as small and as constant as
//! can be: it shares a core with the load.

use std::net::TcpListener;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
const BLANK_LINE: &[u8] = b"\r\n\r\n";
/// A request head longer than this ends the connection. The gateway forwards at most 32 KiB and adds some of its own.
const HEAD_MAX: usize = 64 * 1024;

/// Serves until `stop` turns true.
pub async fn serve(listener: TcpListener, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        tokio::select! {
            // A connection that fails is the client's loss, and shows in its count of errors.
            accepted = listener.accept() => { tokio::spawn(answer(accepted?.0)); }
            _ = stop.wait_for(|told| *told) => return Ok(()),
        }
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::with_capacity(4096);
    while received.len() < HEAD_MAX && stream.read_buf(&mut received).await? > 0 {
        let heads = take_heads(&mut received);
        if heads > 0 {
            stream.write_all(&ANSWER.repeat(heads)).await?;
        }
    }
    Ok(())
}

/// Removes the complete heads at the front of `received` and says how many they were.
pub(crate) fn take_heads(received: &mut Vec<u8>) -> usize {
    let (mut heads, mut end) = (0, 0);
    while let Some(place) = received[end..].windows(BLANK_LINE.len()).position(|window| window == BLANK_LINE) {
        heads += 1;
        end += place + BLANK_LINE.len();
    }
    received.drain(..end);
    heads
}

#[cfg(test)]
mod tests {
    use super::take_heads;

    #[test]
    fn heads_are_counted_however_they_arrive() {
        let mut received = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r".to_vec();
        assert_eq!(take_heads(&mut received), 2);
        assert_eq!(take_heads(&mut received), 0);
        received.extend_from_slice(b"\n");
        assert_eq!(take_heads(&mut received), 1);
        assert!(received.is_empty());
    }
}
