//! TLS at the door: certificates by name, read again when their files change, and client certificates for those who have one.
//!
//! TLS 1.2 and 1.3 by rustls; a connection keeps what it began with, the next one gets what is there then.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{
    config::Tls,
    looks::{Looks, looks},
};

/// What is shown to clients and whose certificates are taken, and how it is kept up to date.
pub(crate) struct TlsServer {
    settings: Tls,
    /// Replaced whole, so that no session that began under an authority that is gone can be resumed.
    config: ArcSwap<ServerConfig>,
    /// When each certificate ends, by its file, in Unix seconds.
    ends: parking_lot::Mutex<Ends>,
    /// How the files looked when they were last read.
    seen: parking_lot::Mutex<Vec<Option<Looks>>>,
}

/// Files of certificates, and until when what is in them is good.
pub(crate) type Ends = Vec<(PathBuf, i64)>;

/// The certificates in force.
#[derive(Debug)]
struct ByName {
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// `example.com` for `*.example.com`.
    wildcard: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// For clients that name nobody, or nobody we know: the first one configured.
    first: Arc<CertifiedKey>,
}

// === impl TlsServer ===

impl TlsServer {
    pub(crate) fn new(settings: &Tls) -> anyhow::Result<Self> {
        let seen = parking_lot::Mutex::new(looks_of(settings));
        let (config, ends) = server_config(settings)?;
        let (config, ends) = (ArcSwap::new(config), parking_lot::Mutex::new(ends));
        Ok(Self { settings: settings.clone(), config, ends, seen })
    }

    /// What the next connection begins with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.config.load_full().into()
    }

    /// Reads the files again if one of them looks different. What is in force stays when the new ones cannot be used. Says
    /// whether new ones are in force; `None` if nothing has changed.
    pub(crate) fn refresh(&self) -> Option<anyhow::Result<()>> {
        let looks = looks_of(&self.settings);
        if *self.seen.lock() == looks {
            return None;
        }
        let read = server_config(&self.settings).map(|(config, ends)| {
            self.config.store(config);
            *self.ends.lock() = ends;
        });
        // Files that are being written are read again when they look different again.
        *self.seen.lock() = looks;
        Some(read)
    }

    /// Until when the certificates in force are good.
    pub(crate) fn ends(&self) -> Ends {
        self.ends.lock().clone()
    }
}

fn server_config(settings: &Tls) -> anyhow::Result<(Arc<ServerConfig>, Ends)> {
    let (certificates, ends) = read_all(settings)?;
    let certificates = Arc::new(certificates);
    let builder = ServerConfig::builder();
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(path, settings.client_required)?),
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), ends))
}

fn verifier(authorities: &Path, is_required: bool) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let verifier = WebPkiClientVerifier::builder(Arc::new(read_roots(authorities)?));
    let verifier = if is_required { verifier } else { verifier.allow_unauthenticated() };
    verifier.build().context("client_ca cannot be used")
}

/// Everything that keeps these files from being used, each with the place that names it.
pub(crate) fn faults(settings: &Tls) -> Vec<String> {
    let pairs = settings.certificates.iter().map(|pair| (&pair.at, read_pair(&pair.certificate, &pair.key).err()));
    let authorities = settings.client_ca.iter();
    let authorities = authorities.map(|path| (&settings.client_ca_at, verifier(path, settings.client_required).err()));
    pairs.chain(authorities).filter_map(|(at, error)| Some(format!("{at}{:#}", error?))).collect()
}

fn looks_of(settings: &Tls) -> Vec<Option<Looks>> {
    let files = settings.certificates.iter().flat_map(|pair| [&pair.certificate, &pair.key]).chain(&settings.client_ca);
    files.map(|path| looks(path)).collect()
}

fn read_all(settings: &Tls) -> anyhow::Result<(ByName, Ends)> {
    let (mut keys, mut ends) = (Vec::new(), Ends::new());
    for pair in &settings.certificates {
        let (names, end, key) = read_pair(&pair.certificate, &pair.key)?;
        ends.push((pair.certificate.clone(), end));
        keys.push((names, key));
    }
    let first = keys.first().map(|(_, key)| Arc::clone(key)).ok_or_else(|| anyhow!("there is no certificate"))?;
    let mut found = ByName { exact: HashMap::new(), wildcard: HashMap::new(), first };
    for (names, key) in keys {
        for name in names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut found.wildcard, parent),
                None => (&mut found.exact, &*name),
            };
            // The first one configured for a name is used.
            map.entry(name.into()).or_insert_with(|| Arc::clone(&key));
        }
    }
    Ok((found, ends))
}

fn read_pair(certificate: &Path, key: &Path) -> anyhow::Result<(Vec<String>, i64, Arc<CertifiedKey>)> {
    let chain = read_chain(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| anyhow!("{}: {error}", key.display()))?;
    let (names, end) = facts_of(&chain[0]).with_context(|| format!("{}", certificate.display()))?;
    let provider = CryptoProvider::get_default().ok_or_else(|| anyhow!("there is no cryptography provider"))?;
    let pair = CertifiedKey::from_der(chain, private, provider)
        .with_context(|| format!("{} and {} do not belong together", certificate.display(), key.display()))?;
    Ok((names, end, Arc::new(pair)))
}

/// At least one certificate.
pub(crate) fn read_chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = match CertificateDer::pem_file_iter(path) {
        Ok(chain) => chain.collect(),
        Err(error) => Err(error),
    };
    let chain = chain.map_err(|error| anyhow!("{}: {error}", path.display()))?;
    if chain.is_empty() { Err(anyhow!("{} holds no certificate", path.display())) } else { Ok(chain) }
}

fn read_roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots.add(certificate).with_context(|| format!("{}", path.display()))?;
    }
    Ok(roots)
}

/// The names that a certificate is for (RFC 9525 §6.3: those of `subjectAltName` alone), and its end.
fn facts_of(certificate: &CertificateDer<'_>) -> io::Result<(Vec<String>, i64)> {
    let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "not a certificate");
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(invalid)?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let names = names
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(name.to_lowercase()) } else { None })
        .collect();
    Ok((names, certificate.validity().not_after.timestamp()))
}

// === impl ByName ===

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| {
            let name = name.to_ascii_lowercase();
            let parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
            self.exact.get(&*name).or_else(parent)
        });
        Some(Arc::clone(named.unwrap_or(&self.first)))
    }
}
