//! TLS, client certificates and HTTP/2 at the door, with certificates made for each test and real clients: rustls and curl.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, DEFAULT_VERSIONS, RootCertStore, StreamOwned, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

use crate::{
    backends::{After, Backend},
    connection::is_at_its_end,
    grpc::run,
    http2_clients::{read, ready},
    platform::{Answer, Platform, Setup, eventually},
};

const GET: &str = "GET /demo/public/x HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n";

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// An authority of the test's own, and files that it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

// === impl Authority ===

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key` for these host names, or for a client of this common name.
    fn sign(&self, name: &str, hosts: &[&str], common_name: Option<&str>) {
        let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(common_name) = common_name {
            params.distinguished_name.push(DnType::OrganizationName, "Acme");
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        self.write(name, &params);
    }

    /// Writes `NAME.pem` and `NAME.key` for a host, good until this year begins.
    fn sign_until(&self, name: &str, host: &str, year: i32) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2010, 1, 1), rcgen::date_time_ymd(year, 1, 1));
        self.write(name, &params);
    }

    /// Writes `NAME.pem` and `NAME.key` for a client of this common name, good for so long from now.
    fn sign_for(&self, name: &str, life: Duration) {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Acme");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + UNIX_EPOCH.elapsed().unwrap() + life;
        self.write(name, &params);
    }

    /// Writes `NAME.pem` and `NAME.key` for a client of this organisation and nothing else.
    fn sign_organisation(&self, name: &str, organisation: &str) {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, organisation);
        self.write(name, &params);
    }

    fn write(&self, name: &str, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
    }

    /// The section `[tls]` with these pairs.
    fn section(&self, names: &[&str]) -> String {
        let pair = |name: &&str| {
            let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
            format!("{{ certificate = \"{}\", key = \"{}\" }}", certificate.display(), key.display())
        };
        format!("certificates = [{}]", names.iter().map(pair).collect::<Vec<_>>().join(", "))
    }

    fn client(&self, with: Option<&str>) -> ClientConfig {
        self.client_of(DEFAULT_VERSIONS, with)
    }

    fn client_of(&self, versions: &[&'static SupportedProtocolVersion], with: Option<&str>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        match with {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }

    /// A connection that has verified `host`.
    fn connect(&self, to: SocketAddr, host: &str, with: Option<&str>) -> Secure {
        self.over(open(to), host, with)
    }

    /// The same over a socket on which something has been said already.
    fn over(&self, socket: TcpStream, host: &str, with: Option<&str>) -> Secure {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let client = ClientConnection::new(Arc::new(self.client(with)), name).unwrap();
        StreamOwned::new(client, socket)
    }

    fn exchange(&self, to: SocketAddr, host: &str, with: Option<&str>, bytes: &str) -> Result<Answer, std::io::Error> {
        Self::ask(self.connect(to, host, with), bytes)
    }

    fn ask(mut stream: Secure, bytes: &str) -> Result<Answer, std::io::Error> {
        stream.write_all(bytes.as_bytes())?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            // A connection that is closed without a last word of TLS has been closed all the same.
            Err(error) if answer.is_empty() => Err(error),
            Ok(_) | Err(_) => Ok(Answer::parse(&answer)),
        }
    }
}

fn open(to: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

fn with_tls(section: &str) -> Setup {
    Setup::default().edit("gateway.toml", "# https = \"0.0.0.0:443\"", "https = \"127.0.0.1:0\"").edit(
        "gateway.toml",
        "certificates = []",
        section,
    )
}

/// A door that knows `orders` of Acme by its certificate, on a route of its own.
fn with_orders(authority: &Authority) -> Setup {
    let client_ca = format!("client_ca = \"{}\"", authority.path("ca.pem").display());
    with_tls(&authority.section(&["one"]))
        .edit("gateway.toml", "# client_ca = \"tls/clients.pem\"", &client_ca)
        .edit("gateway.toml", "# [[tls.clients]]", "[[tls.clients]]")
        .edit("gateway.toml", "# subject = \"C=DE, O=Acme, CN=orders\"", "subject = \"O=Acme, CN=orders\"")
        .edit("gateway.toml", "# role = \"user\"", "role = \"user\"")
        .edit("gateway.toml", "# tier = \"enterprise\"", "tier = \"enterprise\"")
        .append(
            "routes.toml",
            "\n[[route]]\nname = \"machines\"\npaths = [\"/demo/machines/*\"]\nupstream = \"demo\"\nauth = \"mtls\"\nwebsocket = true\n",
        )
}

fn https(platform: &mut Platform) -> SocketAddr {
    platform.gateway().ready["https"].as_str().unwrap().trim_start_matches("https://").parse().unwrap()
}

fn curl(authority: &Path, to: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["-s", "--noproxy", "*", "--max-time", "20", "--cacert"])
        .arg(authority)
        .args(["--resolve", &format!("one.test:{}:127.0.0.1", to.port())])
        .args(arguments)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_certificate_is_the_one_for_the_name_that_is_asked_for() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    authority.sign("two", &["*.two.test"], None);
    let mut platform = with_tls(&authority.section(&["one", "two"])).start();
    let to = https(&mut platform);
    // The client verifies the name, so an answer means the right certificate.
    for host in ["one.test", "a.two.test"] {
        let answer = authority.exchange(to, host, None, GET).unwrap();
        assert_eq!(answer.status, 200, "{host}");
        assert_eq!(answer.received("x-forwarded-proto"), ["https"]);
    }
    for host in ["two.test", "a.b.two.test", "three.test"] {
        assert!(authority.exchange(to, host, None, GET).is_err(), "{host}");
    }
}

/// A hello as it was up to TLS 1.2, of the last version that its client speaks (RFC 5246 §7.4.1.2): P-256 and ECDSA with it, which our
/// certificate is of, and a suite for each version.
fn hello(version: [u8; 2]) -> Vec<u8> {
    let suites: [u8; 4] = [0xc0, 0x2b, 0xc0, 0x09];
    let extensions: [u8; 22] = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3];
    let body = [&version[..], &[7; 32], &[0, 0, 4], &suites, &[1, 0, 0, 22], &extensions].concat();
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let message = [&[1, 0][..], &length(&body), &body].concat();
    [&[22, 3, 1][..], &length(&message), &message].concat()
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    let mut platform = with_tls(&authority.section(&["one"])).start();
    let to = https(&mut platform);
    for version in [&TLS12, &TLS13] {
        let (config, name) = (authority.client_of(&[version], None), ServerName::try_from("one.test").unwrap());
        let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), open(to));
        stream.write_all(GET.as_bytes()).unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert_eq!((Answer::parse(&answer).status, stream.conn.protocol_version()), (200, Some(version.version)));
    }
    let answer_to = |version| {
        let (mut stream, mut record) = (open(to), [0; 7]);
        stream.write_all(&hello(version)).unwrap();
        stream.read_exact(&mut record).unwrap();
        record
    };
    // The same hello is answered by a handshake where it is of TLS 1.2, and else by a fatal alert: `protocol_version`.
    assert_eq!(answer_to([3, 3])[0], 22);
    for old in [[3, 0], [3, 1], [3, 2]] {
        let [kind, .., level, why] = answer_to(old);
        assert_eq!((kind, level, why), (21, 2, 70), "{old:?}");
    }
    let counted = r#"portcullis_connections_refused_total{reason="tls_handshake"}"#;
    eventually("each to be counted", || platform.metric(counted) == 4);
}

#[test]
fn a_handshake_that_does_not_end_in_time_is_not_waited_for() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    let mut platform = with_tls(&authority.section(&["one"]))
        .edit("gateway.toml", "header_timeout = \"10s\"", "header_timeout = \"2s\"")
        .start();
    let (to, hello) = (https(&mut platform), hello([3, 3]));
    for begun in [&hello[..0], &hello[..hello.len() / 2]] {
        let mut stream = open(to);
        drop(stream.write_all(begun));
        assert!(is_at_its_end(&mut stream), "after {} bytes", begun.len());
    }
    let counted = r#"portcullis_connections_refused_total{reason="idle"}"#;
    eventually("each to be counted", || platform.metric(counted) == 2);
}

#[test]
fn the_proxy_protocol_names_the_client_before_the_handshake() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    let mut platform = with_tls(&authority.section(&["one"]))
        .edit("gateway.toml", "proxy_protocol = false", "proxy_protocol = true")
        .env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.1")
        .start();
    let to = https(&mut platform);
    let of_another =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 8, 127, 0, 0, 1, 0x12, 0x67, 1, 0xbb]].concat();
    for (announced, told) in
        [(b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n".to_vec(), "192.0.2.7"), (of_another, "192.0.2.8")]
    {
        let mut socket = open(to);
        socket.write_all(&announced).unwrap();
        let answer = Authority::ask(authority.over(socket, "one.test", None), GET).unwrap();
        assert_eq!(answer.received("x-forwarded-for"), [told], "{answer:?}");
        assert_eq!(answer.received("x-forwarded-proto"), ["https"]);
    }
    assert!(authority.exchange(to, "one.test", None, GET).is_err(), "nobody may leave it out");
    eventually("it to be counted", || {
        platform.metric(r#"portcullis_connections_refused_total{reason="no_proxy_protocol"}"#) == 1
    });
}

#[test]
fn a_client_came_by_https_if_it_did_or_if_a_trusted_proxy_says_so() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    let setup = || with_tls(&authority.section(&["one"]));
    let (mut strict_door, mut trusting_door) =
        (setup().start(), setup().env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.0/8").start());
    let (strict, trusting) = (https(&mut strict_door), https(&mut trusting_door));
    for (to, said, proto) in [
        (strict, "X-Forwarded-Proto: http\r\n", "https"),
        (trusting, "", "https"),
        (trusting, "X-Forwarded-Proto: http\r\n", "http"),
        (trusting, "Forwarded: proto=http\r\n", "http"),
    ] {
        let request = GET.replace("Host:", &format!("{said}Host:"));
        let answer = authority.exchange(to, "one.test", None, &request).unwrap();
        assert_eq!(answer.received("x-forwarded-proto"), [proto], "{said:?}");
        // Browsers are told to come back by TLS only where they came by it.
        assert_eq!(answer.header("strict-transport-security").is_some(), proto == "https", "{said:?}");
    }
}

#[test]
fn whoever_comes_by_ipv4_to_a_listener_of_both_is_known_by_that_address() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    let mut platform = with_tls(&authority.section(&["one"]))
        .edit("gateway.toml", "https = \"127.0.0.1:0\"", "https = \"[::]:0\"")
        .env("PORTCULLIS_TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let to = SocketAddr::from(([127, 0, 0, 1], https(&mut platform).port()));
    let request = GET.replace("Host:", "X-Forwarded-For: 203.0.113.9\r\nHost:");
    let answer = authority.exchange(to, "one.test", None, &request).unwrap();
    assert_eq!(answer.received("x-forwarded-for"), ["203.0.113.9, 127.0.0.1"]);
}

#[test]
fn http2_is_spoken_over_tls_and_by_prior_knowledge() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    let mut platform = with_tls(&authority.section(&["one"])).start();
    let (secure, plain) = (https(&mut platform), platform.http);
    let shown = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}"];
    let ca = authority.path("ca.pem");
    for (scheme, to, flag, version) in [
        ("https", secure, "--http2", "2"),
        ("https", secure, "--http1.1", "1.1"),
        ("http", plain, "--http2-prior-knowledge", "2"),
        ("http", plain, "--http1.1", "1.1"),
    ] {
        let url = format!("{scheme}://one.test:{}/demo/public/x", to.port());
        let said = curl(&ca, to, &[&shown[..], &[flag, &url]].concat());
        assert_eq!(said, format!("{version} 200"), "{scheme} {flag}");
    }
    // The host is read from :authority, the path is normalised and the body arrives.
    let url = format!("http://one.test:{}/demo/public/%7Ex?q=1", plain.port());
    let body = curl(&ca, plain, &["--http2-prior-knowledge", "-d", "hello", &url]);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&body["path"], &body["query"], &body["body"]),
        (&"/demo/public/~x".into(), &"q=1".into(), &"hello".into())
    );
    assert_eq!(body["headers"]["x-forwarded-host"][0], format!("one.test:{}", plain.port()));
}

#[test]
fn certificates_are_read_again_and_connections_go_on() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    let mut platform = with_tls(&authority.section(&["one"])).start();
    let to = https(&mut platform);
    let mut kept = authority.connect(to, "one.test", None);
    let keep = GET.replace("Connection: close\r\n", "");
    let mut ask = || {
        kept.write_all(keep.as_bytes()).unwrap();
        let mut bytes = vec![];
        // The demo's answer ends with the last brace of its JSON.
        while !bytes.ends_with(b"}") {
            let mut piece = [0; 8192];
            let read = kept.read(&mut piece).unwrap();
            assert_ne!(read, 0, "the connection has ended: {}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&piece[..read]);
        }
        assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
    };
    ask();
    // Rubbish first: what is in force stays.
    fs::write(authority.path("one.pem"), "rubbish").unwrap();
    eventually("rubbish is refused", || {
        platform.metric(r#"portcullis_certificate_reloads_total{outcome="refused"}"#) > 0
    });
    assert_eq!(authority.exchange(to, "one.test", None, GET).unwrap().status, 200);
    authority.sign("one", &["renamed.test"], None);
    eventually("the new certificate is shown", || authority.exchange(to, "renamed.test", None, GET).is_ok());
    assert!(authority.exchange(to, "one.test", None, GET).is_err());
    ask();
}

#[test]
fn a_client_certificate_makes_its_holder_known_on_routes_that_ask_for_one() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    authority.sign("orders", &[], Some("orders"));
    authority.sign("stranger", &[], Some("stranger"));
    // Written as it is, this name would look like that of `orders`.
    authority.sign_organisation("comma", "Acme, CN=orders");
    let other = Authority::new();
    other.sign("orders", &[], Some("orders"));
    fs::copy(other.path("orders.pem"), authority.path("forged.pem")).unwrap();
    fs::copy(other.path("orders.key"), authority.path("forged.key")).unwrap();
    let mut platform = with_orders(&authority).start();
    let to = https(&mut platform);
    let machines = GET.replace("/demo/public/x", "/demo/machines/x");
    let answer = authority.exchange(to, "one.test", Some("orders"), &machines).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.received("x-auth-method"), ["mtls"]);
    assert_eq!(answer.received("x-user-tier"), ["enterprise"]);
    assert_eq!(answer.received("x-gateway-assertion").len(), 1);
    for with in [None, Some("stranger"), Some("comma")] {
        let answer = authority.exchange(to, "one.test", with, &machines).unwrap();
        assert_eq!((answer.status, &*answer.code()), (401, "missing_credential"), "{with:?}");
        let told = answer.json()["detail"].to_string();
        assert!(told.contains("client certificate"), "who has another credential is not told to send it: {told}");
    }
    assert!(authority.exchange(to, "one.test", Some("forged"), &machines).is_err(), "another authority's certificate");
    // Nor is a browser's, when a page of elsewhere makes it ask for what may change something, or open a WebSocket.
    let by_page = |method: &str, fields: &str| {
        let asked = machines.replace("GET", method).replace("Host:", &format!("{fields}Host:"));
        let answer = authority.exchange(to, "one.test", Some("orders"), &asked).unwrap();
        (answer.status, answer.code())
    };
    let refused = (403, "csrf".to_owned());
    assert_eq!(by_page("POST", "Origin: https://elsewhere.test\r\n"), refused);
    assert_eq!(by_page("POST", "Sec-Fetch-Site: cross-site\r\nOrigin: null\r\n"), refused);
    for (method, fields) in
        [("GET", "Sec-Fetch-Site: cross-site\r\n"), ("POST", "Origin: https://one.test\r\n"), ("POST", "")]
    {
        assert_eq!(by_page(method, fields).0, 200, "{method} {fields}");
    }
    let handshake = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(by_page("GET", &format!("{handshake}Origin: https://elsewhere.test\r\n")), refused);
    // A token is no certificate, and a certificate no token.
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    assert_eq!(platform.get("/demo/machines/x", &token).status, 401);
    let private = GET.replace("/demo/public/x", "/demo/x");
    assert_eq!(authority.exchange(to, "one.test", Some("orders"), &private).unwrap().status, 401);
}

/// The service behind the route of `orders`: an answer that does not end, or a short one.
fn serving_orders(authority: &Authority) -> Platform {
    let backend = Backend::start(|head, stream| {
        if head.contains("/stream ") {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n"));
            drop(stream.read(&mut [0]));
            return After::Close;
        }
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        After::Keep
    });
    with_orders(authority)
        .append("routes.toml", "expiry_grace = \"0s\"\n")
        .edit("gateway.toml", "keepalive = \"60s\"", "keepalive = \"1h\"")
        .upstream(backend.address)
        .start()
}

#[test]
fn what_a_client_certificate_has_opened_ends_with_it() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    let mut platform = serving_orders(&authority);
    let to = https(&mut platform);
    // Long enough for three handshakes, however busy the machine is.
    authority.sign_for("orders", Duration::from_secs(10));
    let mut connections = [0; 3].map(|_| authority.connect(to, "one.test", Some("orders")));
    let [streaming, idle, busy] = &mut connections;
    let ask = |client: &mut Secure, path: &str, last: &str| {
        // It may have been closed just now.
        drop(write!(client, "GET /demo/machines/{path} HTTP/1.1\r\nHost: one.test\r\n\r\n"));
        let (mut bytes, mut piece) = (Vec::new(), [0; 8192]);
        while !bytes.ends_with(last.as_bytes())
            && !bytes.ends_with(b"}")
            && let Ok(read @ 1..) = client.read(&mut piece)
        {
            bytes.extend_from_slice(&piece[..read]);
        }
        Answer::parse(&bytes)
    };
    assert_eq!(ask(streaming, "stream", "begun\r\n").status, 200);
    assert_eq!(ask(idle, "x", "ok").body, "ok");
    let mut refused = ask(busy, "x", "ok");
    eventually("its end", || {
        if refused.status == 200 {
            assert_ne!(refused.header("connection"), Some("close"), "it is let in for the last time");
            refused = ask(busy, "x", "ok");
        }
        refused.status != 200
    });
    // On a machine that stood still for a second it has become idle, and been closed.
    if refused.status != 0 {
        // With the next connection it may show another certificate.
        let told = (refused.status, refused.code(), refused.header("connection"));
        assert_eq!(told, (401, "expired".to_owned(), Some("close")));
    }
    for (client, what) in [(streaming, "the stream"), (idle, "the idle connection")] {
        let mut rest = Vec::new();
        let ended = client.read_to_end(&mut rest);
        assert!(!ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{what} goes on");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{what} looks whole");
    }
    eventually("the log", || platform.log().contains("\"ended\":\"expired\""));
}

#[test]
fn a_connection_of_http2_is_told_to_go_when_its_clients_certificate_ends() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    let mut platform = serving_orders(&authority);
    let to = https(&mut platform);
    authority.sign_for("orders", Duration::from_secs(10));
    let mut config = authority.client(Some("orders"));
    config.alpn_protocols = vec![b"h2".to_vec()];
    run(async {
        let (name, socket) = (ServerName::try_from("one.test").unwrap(), tokio::net::TcpStream::connect(to).await);
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket.unwrap()).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::get("https://one.test/demo/machines/x").body(()).unwrap();
        let (answer, _) = ready(&client).await.send_request(request, true).unwrap();
        assert_eq!(read(answer.await.unwrap()).await, (200, "ok".to_owned()));
        // Else it would be idle for an hour.
        drop(connection.await.unwrap());
    });
}

#[test]
fn an_authority_that_is_replaced_lets_nobody_in_any_more() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    authority.sign("orders", &[], Some("orders"));
    let clients = authority.path("clients.pem");
    fs::copy(authority.path("ca.pem"), &clients).unwrap();
    let mut platform = with_tls(&authority.section(&["one"]))
        .edit("gateway.toml", "# client_ca = \"tls/clients.pem\"", &format!("client_ca = \"{}\"", clients.display()))
        .edit("gateway.toml", "client_required = false", "client_required = true")
        .start();
    let to = https(&mut platform);
    let (name, config) = (ServerName::try_from("one.test").unwrap(), Arc::new(authority.client(Some("orders"))));
    // With one store of sessions, so that the second would be resumed.
    let ask = || {
        let client = ClientConnection::new(Arc::clone(&config), name.clone()).unwrap();
        let mut stream = StreamOwned::new(client, open(to));
        let mut answer = Vec::new();
        drop(stream.write_all(GET.as_bytes()).and_then(|()| stream.read_to_end(&mut answer)));
        Answer::parse(&answer).status
    };
    assert_eq!(ask(), 200);
    fs::copy(Authority::new().path("ca.pem"), &clients).unwrap();
    eventually("the old authority to be forgotten", || ask() == 0);
}

#[test]
fn plain_requests_are_sent_to_the_https_listener_if_so_configured() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    let mut platform = with_tls(&authority.section(&["one"]))
        .edit("gateway.toml", "redirect_to_https = false", "redirect_to_https = true")
        .start();
    let to = https(&mut platform);
    let answer = platform.send("GET", "/demo/public/%7Ex?q=1", &[], "");
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), Some(&*format!("https://door.test:{}/demo/public/~x?q=1", to.port())));
    assert_eq!(authority.exchange(to, "one.test", None, GET).unwrap().status, 200);
    assert_eq!(platform.send("GET", "/healthz", &[], "").status, 200);
}

#[test]
fn a_certificate_that_has_expired_is_told_of_once_and_counted_and_so_is_the_next_one() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    let file = authority.path("one.pem");
    let gauge = format!("portcullis_certificate_expiry_timestamp_seconds{{file=\"{}\"}}", file.display());
    let good = with_tls(&authority.section(&["one"])).start();
    eventually("its end to be shown", || good.metric(&gauge) > 4_000_000_000);
    assert!(!good.log().contains("has expired"), "{}", good.log());
    // Files that are replaced by old ones.
    authority.sign_until("one", "one.test", 2020);
    eventually("the end of the next one", || good.metric(&gauge) == 1_577_836_800);
    eventually("it to be told of", || good.log().matches("the certificate has expired").count() == 1);
    let expired = with_tls(&authority.section(&["one"])).start();
    eventually("it to be told of at a start", || expired.log().matches("the certificate has expired").count() == 1);
}

#[test]
fn a_certificate_that_cannot_be_read_is_said_at_start() {
    let authority = Authority::new();
    authority.sign("one", &["one.test"], None);
    fs::write(authority.path("one.key"), "rubbish").unwrap();
    let setup = with_tls(&authority.section(&["one"]));
    let folder = setup.folder();
    let output = setup.command(folder.path(), "127.0.0.1:9".parse().unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("one.key"), "{said}");
}

fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0, 0, 0, 0, stream], payload].concat()
}

#[test]
fn a_flood_of_http2_frames_ends_the_connection() {
    let platform = Setup::default()
        .edit("gateway.toml", "http2_max_control_frames = 1000", "http2_max_control_frames = 20")
        .edit("gateway.toml", "http2_max_resets = 200", "http2_max_resets = 5")
        .start();
    let (settings, ping) = (frame(4, 0, &[]), frame(6, 0, &[0; 8]));
    // HEADERS of a whole request in static HPACK: GET, http, /, and a host; each is reset at once.
    let mut resets = Vec::new();
    for stream in (1_u8..60).step_by(2) {
        let mut headers = frame(1, stream, &[0x82, 0x86, 0x84, 0x41, 1, b'x']);
        headers[4] = 0x5;
        resets.extend([headers, frame(3, stream, &[0, 0, 0, 8])].concat());
    }
    let floods = [(settings.repeat(100), "http2_control", 1), (ping.repeat(4000), "http2_control", 2)];
    for (flood, reason, times) in floods.into_iter().chain([(resets, "http2_resets", 1)]) {
        let mut stream = open(platform.http);
        let begin = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, &[])].concat();
        drop(stream.write_all(&[begin, flood].concat()));
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
        // GOAWAY, ENHANCE_YOUR_CALM.
        let word = [&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff][..], &11_u32.to_be_bytes()].concat();
        assert!(rest.ends_with(&word), "{reason}: {:?}", &rest[rest.len().saturating_sub(40)..]);
        let counted = format!("portcullis_connections_refused_total{{reason=\"{reason}\"}}");
        eventually("the flood is counted", || platform.metric(&counted) == times);
    }
    assert_eq!(platform.send("GET", "/demo/public/x", &[], "").status, 200);
}

/// Sends frames after the preface and reads to the end of the connection.
fn http2(to: SocketAddr, frames: &[u8]) -> Vec<u8> {
    let mut stream = open(to);
    stream.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, &[]), frames].concat()).unwrap();
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest));
    rest
}

#[test]
fn a_connection_of_http2_has_a_hundred_empty_frames_of_data() {
    let platform = Platform::start();
    // A POST whose body does not end, so that its stream is open for all of them.
    let path = b"/demo/public/x";
    let mut head = frame(1, 1, &[&[0x83, 0x86, 0x04, 14][..], path, &[0x41, 1, b'x']].concat());
    head[4] = 0x4;
    let rest = http2(platform.http, &[head, frame(0, 1, &[]).repeat(101)].concat());
    // GOAWAY after stream 1, ENHANCE_YOUR_CALM.
    let word = [&[7, 0, 0, 0, 0, 0][..], &1_u32.to_be_bytes(), &11_u32.to_be_bytes()].concat();
    assert!(rest.windows(word.len()).any(|seen| seen == word), "{rest:?}");
    let counted = "portcullis_connections_refused_total{reason=\"http2_control\"}";
    eventually("the flood is counted", || platform.metric(counted) == 1);
}

#[test]
fn an_http2_head_that_does_not_end_in_time_ends_the_connection() {
    let platform = Setup::default()
        .edit("gateway.toml", "header_timeout = \"10s\"", "header_timeout = \"2s\"")
        .edit("gateway.toml", "keepalive = \"60s\"", "keepalive = \"1h\"")
        .start();
    // No request at all, a block of fields without its end, and half a frame: each would otherwise live for an hour.
    let open_block = frame(1, 1, &[0x82, 0x86, 0x84, 0x41, 1, b'x']);
    for frames in [&[][..], &open_block, &open_block[..11]] {
        http2(platform.http, frames);
    }
    assert_eq!(platform.metric(r#"portcullis_connections_refused_total{reason="request_timeout"}"#), 3);
}

/// The first byte of every block of fields in an answer: `:status` by its index (RFC 7541 appendix A).
fn statuses(mut frames: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    while let Some((&[high, middle, low, kind, ..], rest)) = frames.split_first_chunk::<9>() {
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        found.extend(rest.first().filter(|_| kind == 1));
        frames = rest.get(length..).unwrap_or_default();
    }
    found
}

#[test]
fn http2_heads_that_name_no_host_or_two_are_refused_and_counted_and_others_go_on() {
    let platform = Setup::default().edit("gateway.toml", "keepalive = \"60s\"", "keepalive = \"500ms\"").start();
    // GET, http, /, and then: nothing; user information; two hosts; as it should be.
    let heads: [&[u8]; 4] = [b"", b"\x41\x03a@b", b"\x0f\x17\x01a\x0f\x17\x01b", b"\x41\x01x"];
    let frames = heads.iter().zip((1_u8..).step_by(2)).flat_map(|(head, stream)| {
        let mut headers = frame(1, stream, &[&[0x82, 0x86, 0x84], *head].concat());
        headers[4] = 0x5;
        headers
    });
    let mut answers = statuses(&http2(platform.http, &frames.collect::<Vec<_>>()));
    answers.sort_unstable();
    // 400, three times, and 404.
    assert_eq!(answers, [0x8c, 0x8c, 0x8c, 0x8d]);
    assert_eq!(platform.metric(r#"portcullis_connections_refused_total{reason="http2_head"}"#), 3);
}

#[test]
fn too_many_fields_are_refused_in_http2_as_well() {
    let platform = Platform::start();
    let url = format!("http://127.0.0.1:{}/demo/public/x", platform.http.port());
    let fields: Vec<String> = (0..101).flat_map(|number| ["-H".to_owned(), format!("x-{number}: y")]).collect();
    let output = Command::new("curl")
        .args(["-s", "--noproxy", "*", "--max-time", "20", "--http2-prior-knowledge"])
        .args(fields)
        .arg(url)
        .output()
        .unwrap();
    // Not the status alone: the demo service refuses so many fields as well.
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["code"], "headers_too_large", "{said}");
}
