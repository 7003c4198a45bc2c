//! Ids of records: one type each, so that a session's id can never be taken for an account's.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The id with these bits.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Its bits.
            #[must_use]
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }
    )*};
}

ids! {
    /// A person's record.
    AccountId
    /// A login that can be ended.
    SessionId
    /// An API key's record.
    KeyId
    /// The holder of a client certificate.
    CertificateId
    /// A second factor's record.
    FactorId
    /// Whom an issuer means by a subject.
    ExternalId
    /// A customer organisation.
    TenantId
    /// A sealed key of somebody else's.
    IntegrationId
}

// === impl ExternalId ===

impl ExternalId {
    /// The id of a subject of an issuer: made of both alone (version 8 of RFC 9562 §5.8, of their SHA-256), so that it is known
    /// before there is a record of it, and what was learnt of it can be voided when there is one.
    #[must_use]
    pub fn of(issuer: &str, subject: &str) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        // The length keeps the two apart.
        context.update(&(issuer.len() as u64).to_be_bytes());
        context.update(issuer.as_bytes());
        context.update(subject.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(Builder::from_custom_bytes(bytes).into_uuid())
    }
}
