//! Backends that speak TLS or HTTP/2: who is believed, who we say that we are, and that connections are never lent to those
//! who believe somebody else.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{
    DEFAULT_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    backends::{pool, pools},
    platform::{Answer, Platform, eventually},
    wire::{self, Wire},
};

/// Who signs certificates, and a folder for what is signed.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// Certificate and key in PEM files.
pub(crate) struct Signed {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let (folder, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn sign(&self, name: &str) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let place = |what: &str| self.folder.path().join(format!("{name}-{what}.pem"));
        let signed = Signed { certificate: place("cert"), key: place("key") };
        fs::write(&signed.certificate, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(&signed.key, key.serialize_pem()).unwrap();
        signed
    }
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

/// A server that says which protocol it spoke, the path, and who showed a certificate; for one path it has to be asked by HTTP/1.1.
struct Backend {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    fn plain_h2() -> Self {
        Self::start(|stream, said| async move { h2(stream, said).await })
    }

    fn tls(own: &Signed, clients: Option<&Authority>, protocols: &[&str]) -> Self {
        Self::tls_of(DEFAULT_VERSIONS, own, clients, protocols)
    }

    fn tls_of(
        versions: &[&'static SupportedProtocolVersion],
        own: &Signed,
        clients: Option<&Authority>,
        protocols: &[&str],
    ) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut store = RootCertStore::empty();
                store.add(certificates(&authority.ca()).remove(0)).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
        let mut config = builder.with_single_cert(certificates(&own.certificate), key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start(move |stream, _| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let (_, session) = stream.get_ref();
                let shown = session.peer_certificates().map_or("nobody", |_| "somebody").to_owned();
                let is_h2 = session.alpn_protocol() == Some(b"h2");
                if is_h2 { h2(stream, shown).await } else { http1(stream, shown).await }
            }
        })
    }

    fn start<F: Future<Output = ()> + Send + 'static>(serve: impl Fn(TcpStream, String) -> F + Send + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    count.fetch_add(1, SeqCst);
                    tokio::spawn(serve(stream, "nobody".to_owned()));
                }
            });
        });
        Self { address, connections }
    }
}

async fn h2(stream: impl AsyncRead + AsyncWrite + Unpin, shown: String) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if request.uri().path().ends_with("/http1") {
            respond.send_reset(h2::Reason::HTTP_1_1_REQUIRED);
            continue;
        }
        let body = format!("h2 {} {} {shown}", request.uri().path(), request.uri().authority().unwrap());
        let mut send = respond.send_response(http::Response::new(()), false).unwrap();
        send.send_data(Bytes::from(body), false).unwrap();
        send.send_trailers([("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect()).unwrap();
    }
}

async fn http1(mut stream: impl AsyncRead + AsyncWrite + Unpin, shown: String) {
    let mut buffer = vec![0; 65536];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
        if head.to_lowercase().contains("\r\nupgrade: websocket\r\n") {
            let greeting = [wire::agreed("").as_bytes(), &wire::frame(1, shown.as_bytes())].concat();
            drop(stream.write_all(&greeting).await);
            // Until the client leaves.
            drop(stream.read(&mut buffer).await);
            return;
        }
        let path = head.split(' ').nth(1).unwrap();
        let body = format!("http1 {path} {shown}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn get(platform: &Platform, path: &str) -> Answer {
    platform.send("GET", path, &[], "")
}

/// The keys of a `tls` table.
fn tls(sni: &str, ca: Option<&Authority>, client: Option<&Signed>) -> String {
    let text = |path: &Path| path.display().to_string();
    let ca = ca.map(|ca| format!(", ca = {:?}", text(&ca.ca()))).unwrap_or_default();
    let client = client
        .map(|client| (text(&client.certificate), text(&client.key)))
        .map(|(certificate, key)| format!(", client_certificate = {certificate:?}, client_key = {key:?}"))
        .unwrap_or_default();
    format!("tls = {{ sni = \"{sni}\"{ca}{client} }}")
}

#[test]
fn a_backend_without_tls_may_speak_http2_and_streams_share_a_connection() {
    let backend = Backend::plain_h2();
    let platform = pool(&[backend.address], "protocol = \"h2c\"").start();
    for _ in 0..3 {
        assert_eq!(get(&platform, "/pool/x").body, "h2 /pool/x door.test nobody");
    }
    assert_eq!(backend.connections.load(SeqCst), 1);
    // Health checks speak it too.
    let health = "protocol = \"h2c\"\nhealth = { path = \"/healthz\", interval = \"20ms\", timeout = \"10s\", unhealthy_after = 1 }";
    let platform = pool(&[backend.address], health).start();
    eventually("checks", || backend.connections.load(SeqCst) > 5);
    assert_eq!(get(&platform, "/pool/x").status, 200);
}

#[test]
fn a_certificate_is_believed_by_its_signer_and_its_name_only_and_connections_are_never_lent() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let backend = Backend::tls(&ours.sign("backend.test"), None, &["h2", "http/1.1"]);
    let to = || vec![backend.address.to_string()];
    let (good, other, name, system) = (
        tls("backend.test", Some(&ours), None),
        tls("backend.test", Some(&theirs), None),
        tls("frontend.test", Some(&ours), None),
        tls("backend.test", None, None),
    );
    let h1 = format!("{good}\nprotocol = \"http1\"");
    let h2 = format!("{good}\nprotocol = \"h2\"");
    let other_h1 = format!("{other}\nprotocol = \"http1\"");
    let platform = pools(&[
        ("good", to(), &good),
        ("h1", to(), &h1),
        ("h2", to(), &h2),
        ("other", to(), &other),
        ("other-h1", to(), &other_h1),
        ("name", to(), &name),
        ("system", to(), &system),
    ])
    .start();
    assert_eq!(get(&platform, "/good/x").body, "h2 /good/x door.test nobody", "what the server likes best");
    assert_eq!(get(&platform, "/h1/x").body, "http1 /h1/x nobody");
    assert_eq!(get(&platform, "/h2/x").body, "h2 /h2/x door.test nobody");
    // There are open connections to that very address by now, of those who believe the right signer.
    for upstream in ["other", "other-h1", "name", "system"] {
        let answer = get(&platform, &format!("/{upstream}/x"));
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"), "{upstream}: {answer:?}");
    }
    let before = backend.connections.load(SeqCst);
    assert_eq!(get(&platform, "/h1/x").status, 200);
    assert_eq!(backend.connections.load(SeqCst), before, "while those who may share do");
}

#[test]
fn what_a_server_wants_to_be_asked_by_http_1_1_it_is_asked_so_where_both_are_spoken() {
    let authority = Authority::new();
    let backend = Backend::tls(&authority.sign("backend.test"), None, &["h2", "http/1.1"]);
    let to = || vec![backend.address.to_string()];
    let either = tls("backend.test", Some(&authority), None);
    let platform = pools(&[("either", to(), &either), ("h2", to(), &format!("{either}\nprotocol = \"h2\""))]).start();
    for path in ["/either/x", "/h2/x"] {
        assert_eq!(get(&platform, path).body, format!("h2 {path} door.test nobody"));
    }
    for method in ["GET", "POST"] {
        let answer = platform.send(method, "/either/http1", &[], "");
        assert_eq!(answer.body, "http1 /either/http1 nobody", "{method}: {answer:?}");
    }
    let failures = |name: &str| {
        platform.metric(&format!("portcullis_upstream_failures_total{{kind=\"invalid\",upstream=\"{name}\"}}"))
    };
    assert_eq!(failures("either"), 0, "nobody has failed");
    assert_eq!((get(&platform, "/h2/http1").status, failures("h2")), (502, 1));
}

#[test]
fn health_checks_believe_no_other_certificate_than_requests_do() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let backend = Backend::tls(&ours.sign("backend.test"), None, &["h2", "http/1.1"]);
    let to = || vec![backend.address.to_string()];
    let health = "health = { path = \"/healthz\", interval = \"20ms\", timeout = \"10s\", unhealthy_after = 1 }";
    let checked = |keys: String| format!("{keys}\n{health}");
    let [good, other, name] = [("backend.test", &ours), ("backend.test", &theirs), ("frontend.test", &ours)]
        .map(|(sni, signer)| checked(tls(sni, Some(signer), None)));
    let platform = pools(&[("good", to(), &good), ("other", to(), &other), ("name", to(), &name)]).start();
    for upstream in ["other", "name"] {
        eventually("it to be found out", || get(&platform, &format!("/{upstream}/x")).code() == "upstream_unavailable");
    }
    let before = backend.connections.load(SeqCst);
    eventually("more checks", || backend.connections.load(SeqCst) > before + 20);
    assert_eq!(get(&platform, "/good/x").body, "h2 /good/x door.test nobody");
    let healthy = |name: &str| platform.metric(&format!("portcullis_upstream_servers_healthy{{upstream=\"{name}\"}}"));
    assert_eq!((healthy("good"), healthy("other"), healthy("name")), (1, 0, 0));
}

#[test]
fn a_backend_that_wants_to_know_us_is_shown_our_certificate() {
    let authority = Authority::new();
    let backend = Backend::tls(&authority.sign("backend.test"), Some(&authority), &["http/1.1"]);
    let own = authority.sign("door.test");
    let to = || vec![backend.address.to_string()];
    let (known, unknown) =
        (tls("backend.test", Some(&authority), Some(&own)), tls("backend.test", Some(&authority), None));
    let platform = pools(&[("known", to(), &known), ("unknown", to(), &unknown)]).start();
    assert_eq!(get(&platform, "/known/x").body, "http1 /known/x somebody");
    let refused = get(&platform, "/unknown/x");
    assert_eq!(refused.status, 502, "{refused:?}");
    assert_eq!(get(&platform, "/known/x").status, 200);
}

#[test]
fn a_backend_may_speak_but_one_version_of_tls() {
    let authority = Authority::new();
    let (own, settings) = (authority.sign("backend.test"), tls("backend.test", Some(&authority), None));
    let backend = |version, protocol| Backend::tls_of(&[version], &own, None, &[protocol]).address.to_string();
    let platform = pools(&[
        ("old", vec![backend(&TLS12, "http/1.1")], &settings),
        ("old-h2", vec![backend(&TLS12, "h2")], &settings),
        ("new", vec![backend(&TLS13, "http/1.1")], &settings),
        ("new-h2", vec![backend(&TLS13, "h2")], &settings),
    ])
    .start();
    for name in ["old", "new"] {
        assert_eq!(get(&platform, &format!("/{name}/x")).body, format!("http1 /{name}/x nobody"));
        assert_eq!(get(&platform, &format!("/{name}-h2/x")).body, format!("h2 /{name}-h2/x door.test nobody"));
    }
}

#[test]
fn a_websocket_believes_no_other_certificate_than_requests_do_and_shows_the_same() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (own, door) = (ours.sign("backend.test"), ours.sign("door.test"));
    let backend = Backend::tls(&own, None, &["h2", "http/1.1"]);
    let careful = Backend::tls(&own, Some(&ours), &["http/1.1"]);
    let pool = |name: &'static str, backend: &Backend, tls: String| (name, vec![backend.address.to_string()], tls);
    let all = [
        pool("good", &backend, tls("backend.test", Some(&ours), None)),
        pool("other", &backend, tls("backend.test", Some(&theirs), None)),
        pool("name", &backend, tls("frontend.test", Some(&ours), None)),
        pool("system", &backend, tls("backend.test", None, None)),
        pool("known", &careful, tls("backend.test", Some(&ours), Some(&door))),
        pool("unknown", &careful, tls("backend.test", Some(&ours), None)),
    ];
    let route = |name: &str| {
        format!(
            "\n[[route]]\nname = \"ws-{name}\"\npaths = [\"/ws/{name}\"]\nupstream = \"{name}\"\nauth = \"none\"\nwebsocket = true\n"
        )
    };
    let routes: String = all.iter().map(|(name, ..)| route(name)).collect();
    let named = all.each_ref().map(|(name, to, tls)| (*name, to.clone(), tls.as_str()));
    let platform = pools(&named).append("routes.toml", &routes).start();
    let handshake = |name: &str| wire::handshake(&format!("/ws/{name}"), &[]);
    for (name, shown) in [("good", "nobody"), ("known", "somebody")] {
        let mut client = Wire::connect(platform.http);
        client.write(handshake(name));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{name}: {head}");
        assert_eq!(client.frame(), Some((1, shown.as_bytes().to_vec())), "{name}");
    }
    for name in ["other", "name", "system", "unknown"] {
        let answer = platform.raw(handshake(name).replace("Host:", "Connection: close\r\nHost:").as_bytes());
        // Who has to show a certificate hears of it after the handshake.
        let is_told = name == "unknown" || answer.code() == "upstream_unreachable";
        assert!(answer.status == 502 && is_told, "{name}: {answer:?}");
    }
}
