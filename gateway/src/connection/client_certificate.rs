//! Who a client certificate says its holder is. That it is genuine has been verified in the handshake.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The subject's distinguished name, as it is written in the configuration: `C=DE, O=Acme, CN=orders`.
    pub(crate) subject: Box<str>,
}

impl ClientCertificate {
    /// None if it cannot be read, or has no subject.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = parsed.subject().to_string();
        (!subject.is_empty()).then(|| Self { subject: subject.into() })
    }
}
