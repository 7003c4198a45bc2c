//! What a credential is found by: the SHA-256 of all of it.

use std::hash::Hasher;

use aws_lc_rs::digest;
use identity::Credential;

pub(super) type Digest = [u8; 32];

/// Finds a verified credential by the first bytes of its digest, which are as good as any hash of them. Only what we have issued
/// is kept there, and nobody can choose the digest of that, so no list of it can be made long on purpose.
#[derive(Clone, Default)]
pub(super) struct FirstBytes(u64);

/// No token holds a NUL, so none is found by what a cookie is found by: shown as a token, a cookie's value would need no page
/// of this host behind it.
const COOKIE: &[u8] = b"\0cookie\0";

// === impl FirstBytes ===

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// The length, which all digests share.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(super) fn digest_of(credential: &Credential<'_>) -> Digest {
    let whole = match credential {
        Credential::Jwt(text) | Credential::ApiKey(text) => digest::digest(&digest::SHA256, text.as_bytes()),
        // NUL is in no token.
        Credential::Developer { email, name } => {
            let all = format!("dev\0{email}\0{}", name.unwrap_or("\0"));
            digest::digest(&digest::SHA256, all.as_bytes())
        }
        Credential::Cookie(text) => {
            let mut context = digest::Context::new(&digest::SHA256);
            context.update(COOKIE);
            context.update(text.as_bytes());
            context.finish()
        }
    };
    let mut bytes = [0; 32];
    bytes.copy_from_slice(whole.as_ref());
    bytes
}
