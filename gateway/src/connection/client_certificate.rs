//! Who a client certificate says its holder is, and until when. That it is genuine has been verified in the handshake.

use std::fmt::Write;

use rustls::pki_types::CertificateDer;
use x509_parser::{
    objects::oid_registry,
    prelude::{FromDer, X509Certificate},
    x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name},
};

/// A verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The subject's distinguished name, as it is written in the configuration: `C=DE, O=Acme, CN=orders`.
    pub(crate) subject: Box<str>,
    /// Unix seconds from which on it counts no more; the last second of its time still counts (RFC 5280 §4.1.2.5).
    pub(crate) ends_at: i64,
}

impl ClientCertificate {
    /// None if it cannot be read, or has no subject that can be written.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = written(parsed.subject())?;
        let ends_at = parsed.validity().not_after.timestamp().saturating_add(1);
        (!subject.is_empty()).then(|| Self { subject: subject.into(), ends_at })
    }
}

/// In the order of the certificate, so that no two names are written alike: whoever may choose one value of its name must not
/// write others with it.
fn written(name: &X509Name<'_>) -> Option<String> {
    let together = |rdn: &RelativeDistinguishedName<'_>| {
        let attributes: Option<Vec<_>> = rdn.iter().map(attribute).collect();
        Some(attributes?.join(" + "))
    };
    let parts: Option<Vec<_>> = name.iter_rdn().map(together).collect();
    Some(parts?.join(", "))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    // What is no text has no place in a configuration.
    if !STRINGS.contains(&attribute.attr_value().tag().0) {
        return None;
    }
    let alone = X509Name::new(vec![RelativeDistinguishedName::new(vec![attribute.clone()])], &[]);
    let text = alone.to_string_with_registry(oid_registry()).ok()?;
    let (kind, value) = text.split_once('=')?;
    Some(format!("{kind}={}", escaped(value)))
}

/// The tags of ASN.1's types for text (X.680 §8.4), from `UTF8String` to `BMPString`.
const STRINGS: [u32; 10] = [12, 18, 19, 20, 21, 22, 25, 26, 27, 30];

/// RFC 4514 §2.4, with `=` and control characters too.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    value.chars().enumerate().fold(String::with_capacity(value.len()), |mut out, (at, sign)| {
        let is_special = match sign {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => true,
            '#' => at == 0,
            ' ' => at == 0 || at == last,
            _ => false,
        };
        if sign.is_ascii_control() {
            write!(out, "\\{:02X}", u32::from(sign)).ok();
        } else {
            out.extend(is_special.then_some('\\').into_iter().chain([sign]));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_write_another() {
        for (value, text) in [
            ("orders", "orders"),
            ("Acme, CN=orders", r"Acme\, CN\=orders"),
            ("a + b", r"a \+ b"),
            (" #x ", r"\ #x\ "),
            ("#x", r"\#x"),
            (r"a\, b", r"a\\\, b"),
            ("a\nb\u{7f}", r"a\0Ab\7F"),
            ("Müller; \"<x>\"", r#"Müller\; \"\<x\>\""#),
        ] {
            assert_eq!(escaped(value), text, "{value:?}");
        }
    }
}
