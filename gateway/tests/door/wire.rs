//! WebSockets by hand, for tests: a client and a backend that write and read exactly the bytes they are told.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// The key of RFC 6455 §1.3, and what answers it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const PATIENCE: Duration = Duration::from_secs(30);

/// A frame as a server sends it: no mask.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let head = match payload.len() {
        short @ ..126 => vec![0x80 | opcode, short as u8],
        middle @ ..65536 => [&[0x80 | opcode, 126][..], &(middle as u16).to_be_bytes()].concat(),
        long => [&[0x80 | opcode, 127][..], &(long as u64).to_be_bytes()].concat(),
    };
    [&head[..], payload].concat()
}

/// A frame as a client sends it: masked.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(opcode, b"");
    bytes.truncate(1);
    match payload.len() {
        short @ ..126 => bytes.push(0x80 + short as u8),
        middle @ ..65536 => bytes.extend([&[0x80 + 126][..], &(middle as u16).to_be_bytes()].concat()),
        long => bytes.extend([&[0x80 + 127][..], &(long as u64).to_be_bytes()].concat()),
    }
    let mask = [1, 2, 3, 4];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// One end of a connection, with what it has read ahead.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    ahead: Vec<u8>,
}

// === impl Wire ===

impl Wire {
    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, ahead: Vec::new() }
    }

    pub(crate) fn connect(to: SocketAddr) -> Self {
        Self::of(TcpStream::connect(to).unwrap())
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Exactly so many bytes; fewer at the end of the connection.
    pub(crate) fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut buffer = [0; 16384];
        while self.ahead.len() < bytes {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => self.ahead.extend_from_slice(&buffer[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("only {:?} came", String::from_utf8_lossy(&self.ahead))
                }
                Err(_) => break,
            }
        }
        let rest = self.ahead.split_off(bytes.min(self.ahead.len()));
        std::mem::replace(&mut self.ahead, rest)
    }

    /// A header, with the empty line after it.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let byte = self.read(1);
            assert!(!byte.is_empty(), "closed after {head:?}");
            head.push(char::from(byte[0]));
        }
        head
    }

    /// Opcode and payload of the next frame, without its mask; `None` when the connection has ended.
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.read(2);
        let [first, second] = head[..] else { return None };
        let number = |bytes: Vec<u8>| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        let length = match second & 0x7f {
            126 => number(self.read(2)),
            127 => number(self.read(8)),
            short => short.into(),
        };
        let mask = if second & 0x80 == 0 { vec![0; 4] } else { self.read(4) };
        let payload = self.read(length);
        assert_eq!(payload.len(), length, "the frame is not whole");
        Some((first & 0x0f, payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()))
    }

    /// The code and reason of the Close that must come next.
    pub(crate) fn close(&mut self) -> (u16, String) {
        let (opcode, payload) = self.frame().expect("a frame");
        assert_eq!(opcode, 8, "{payload:?}");
        (u16::from_be_bytes([payload[0], payload[1]]), String::from_utf8(payload[2..].to_vec()).unwrap())
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.read(usize::MAX)
    }

    /// Does nothing come for a moment?
    pub(crate) fn is_silent(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let silent = self.ahead.is_empty() && self.stream.peek(&mut [0]).is_err();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    /// What echoes says that it is still there.
    pub(crate) fn echoes(&mut self, text: &str) {
        self.write(masked(1, text.as_bytes()));
        assert_eq!(self.frame(), Some((1, text.as_bytes().to_vec())));
    }
}

/// What comes back to who reads nothing before all is sent. Who is kept from sending for longer than a gateway listens after its answer, which
/// is two seconds, is cut off, and tries again.
pub(crate) fn answer_after_all(door: SocketAddr, request: &[u8]) -> Vec<u8> {
    for _ in 0..5 {
        let (began, mut client) = (Instant::now(), Wire::connect(door));
        if client.stream.write_all(request).is_ok() {
            return client.rest();
        }
        assert!(began.elapsed() >= Duration::from_secs(2), "nobody listens after {:?}", began.elapsed());
    }
    panic!("nobody listens for long enough");
}

/// A request to become a WebSocket.
pub(crate) fn handshake(path: &str, more: &[(&str, &str)]) -> String {
    let more = more.iter().fold(String::new(), |more, (name, value)| more + name + ": " + value + "\r\n");
    format!(
        "GET {path} HTTP/1.1\r\nHost: door.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
}

/// The answer that agrees.
pub(crate) fn agreed(more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n{more}\r\n"
    )
}

/// A server that runs `serve` for each connection, in a thread of its own.
pub(crate) fn backend(serve: impl Fn(Wire) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            thread::Builder::new().stack_size(128 * 1024).spawn(move || serve(Wire::of(stream.unwrap()))).unwrap();
        }
    });
    address
}

/// A server whose connections the test serves itself.
pub(crate) fn by_hand() -> (SocketAddr, mpsc::Receiver<Wire>) {
    let (sender, connections) = mpsc::sync_channel(64);
    (backend(move |wire| drop(sender.send(wire))), connections)
}

/// Agrees at once, greets in the same packet, and echoes frames until Close or the end.
pub(crate) fn echo(mut wire: Wire) {
    wire.head();
    wire.write([agreed("").as_bytes(), &frame(1, b"hello")].concat());
    // Idle for as long as the test likes.
    wire.stream.set_read_timeout(None).unwrap();
    while let Some((opcode, payload)) = wire.frame() {
        if opcode == 8 || wire.stream.write_all(&frame(opcode, &payload)).is_err() {
            return;
        }
    }
}

/// A WebSocket to [`echo`] through the door, greeted.
pub(crate) fn open(door: SocketAddr, path: &str, token: &str) -> Wire {
    let mut wire = Wire::connect(door);
    wire.write(handshake(path, &[("Authorization", &format!("Bearer {token}"))]));
    let head = wire.head();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(wire.frame(), Some((1, b"hello".to_vec())));
    wire
}
