//! `[upstreams.NAME.tls]`: names, certificates and keys, read and checked while there is still somebody to tell.
//!
//! Pingora takes what it is given on trust: it panics on a certificate or key that it cannot parse and verifies nothing
//! when the name is empty (DEPENDENCIES §1.8). So both are refused here.

use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    sign::CertifiedKey,
};

use super::Reader;
use crate::config::{ClientCertificate, TlsSettings, raw};

impl Reader<'_, '_> {
    pub(super) fn upstream_tls(&mut self, raw: &raw::UpstreamTls) -> Option<TlsSettings> {
        let authorities = self.pem(raw.ca.as_ref(), authorities);
        let client = self.client_certificate(raw);
        let sni = self.document.resolve(&raw.sni, self.folder)?;
        if ServerName::try_from(sni.as_str()).is_err() {
            let message = format!("\"{sni}\" is not a name that a certificate could be for, such as backend.internal");
            self.document.note(raw.sni.span(), message);
            return None;
        }
        Some(TlsSettings { sni, authorities, client })
    }

    fn client_certificate(&mut self, raw: &raw::UpstreamTls) -> Option<ClientCertificate> {
        if let (Some(alone), None) | (None, Some(alone)) = (&raw.client_certificate, &raw.client_key) {
            self.document
                .note(alone.span(), "a certificate and its key go together: `client_certificate`, `client_key`");
        }
        let chain = self.pem(raw.client_certificate.as_ref(), certificates);
        let key = self.pem(raw.client_key.as_ref(), private_key);
        let (chain, key) = (chain?, key?);
        let der = chain.iter().cloned().map(CertificateDer::from).collect();
        if let Err(error) = CertifiedKey::from_der(der, key.clone_key(), &aws_lc_rs::default_provider()) {
            let span = raw.client_key.as_ref().map_or(0..0, policies::config::Placed::span);
            self.document.note(span, format!("certificate and key do not fit each other: {error}"));
        }
        Some(ClientCertificate { chain, key: key.secret_der().to_vec() })
    }
}

/// Certificates that may have signed others.
pub(super) fn authorities(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let found = certificates(pem)?;
    let mut store = RootCertStore::empty();
    for certificate in &found {
        let added = store.add(CertificateDer::from(certificate.as_slice()));
        added.map_err(|error| format!("holds a certificate that cannot be trusted: {error}"))?;
    }
    Ok(found)
}

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("is not PEM: {error}"))?;
    for certificate in &found {
        x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| format!("holds a certificate that cannot be read: {error}"))?;
    }
    if found.is_empty() {
        Err("holds no certificate in PEM".to_owned())
    } else {
        Ok(found.iter().map(|der| der.to_vec()).collect())
    }
}

/// What is wrong with a key is said without any of it.
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no private key in PEM".to_owned())
}
