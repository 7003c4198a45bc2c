//! The section `[tls]`: certificates, and whom they make known. The files are read when the listener is made, and when they change: a
//! pair that is being exchanged keeps no other change from coming in force.

use std::{collections::BTreeMap, path::PathBuf};

use super::{ConfigFolder, Reader};
use crate::config::{CertificatePair, CertifiedClient, Place, Tls, raw};

impl Reader<'_, '_> {
    pub(super) fn tls(&mut self) -> Tls {
        let raw: raw::Tls = self.document.section("tls").unwrap_or_default();
        let mut clients = BTreeMap::new();
        for client in &raw.clients {
            let known = CertifiedClient { role: client.role.to_string(), tier: client.tier.to_string() };
            self.named.roles.push(client.role.clone());
            self.named.tiers.push(client.tier.clone());
            if clients.insert(client.subject.to_string(), known).is_some() {
                self.document.note(client.subject.span(), format!("`{}` is named twice", *client.subject));
            }
            if !is_name(&client.subject) {
                let message = r"not a distinguished name; a comma inside a value is written \, (in 'single quotes')";
                self.document.note(client.subject.span(), message);
            }
        }
        if let (Some(first), None) = (raw.clients.first(), &raw.client_ca) {
            self.document.note(first.span(), "without client_ca no client certificate is accepted");
        }
        let client_required = raw.client_required.as_ref().is_some_and(|given| **given);
        if let (Some(given), true, None) = (&raw.client_required, client_required, &raw.client_ca) {
            // Else everybody would be let in where nobody without a certificate was meant to be.
            self.document.note(given.span(), "without client_ca there is no certificate that could be required");
        }
        Tls {
            certificates: raw
                .certificates
                .iter()
                .map(|pair| CertificatePair {
                    at: Place::of(self.document, &pair.span()),
                    certificate: self.folder.within(&pair.certificate),
                    key: self.folder.within(&pair.key),
                })
                .collect(),
            client_ca: raw.client_ca.as_ref().map(|path| self.folder.within(path)),
            client_ca_at: raw
                .client_ca
                .as_ref()
                .map_or_else(Place::default, |path| Place::of(self.document, &path.span())),
            client_required,
            clients,
        }
    }
}

/// Has every part a type?
fn is_name(subject: &str) -> bool {
    let plain = subject.replace(r"\\", "").replace(r"\,", "");
    plain.split(',').all(|part| part.contains('='))
}

impl ConfigFolder {
    /// A path as the files mean it.
    pub(super) fn within(&self, path: &str) -> PathBuf {
        match self {
            Self::Embedded => path.into(),
            Self::Path(folder) => folder.join(path),
        }
    }
}
