//! An authenticator of our own: it makes a passkey and signs with it, honestly or as a test wants it.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

/// Flags of authenticator data (Web Authentication §6.1).
const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const WITH_KEY: u8 = 0x40;

/// One passkey in an authenticator, and what it says of itself.
pub(crate) struct Authenticator {
    key: EcdsaKeyPair,
    pub(crate) id: Vec<u8>,
    /// Whose it says it is.
    pub(crate) user: Option<Vec<u8>>,
    /// Signatures made so far; `None`: it does not count.
    pub(crate) count: Option<u32>,
    /// The page on which it is asked.
    pub(crate) origin: &'static str,
    /// The site that it answers for.
    pub(crate) rp: &'static str,
    pub(crate) verifies: bool,
}

// === impl Authenticator ===

impl Authenticator {
    pub(crate) fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let id = digest(&SHA256, key.public_key().as_ref()).as_ref().to_vec();
        Self { key, id, user: None, count: Some(0), origin: "https://door.test", rp: "door.test", verifies: true }
    }

    /// Makes the passkey: what `navigator.credentials.create` gives for these options.
    pub(crate) fn make(&mut self, options: &Value) -> Value {
        self.user = BASE64.decode(options["user"]["id"].as_str().unwrap()).ok();
        let client = self.client("webauthn.create", options);
        let mut data = self.data(WITH_KEY);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        // COSE (RFC 9053 §7.1.1): kty EC2, alg ES256, curve P-256, x, y.
        let point = &self.key.public_key().as_ref()[1..];
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(&point[..32]);
        data.extend([0x22, 0x58, 0x20]);
        data.extend(&point[32..]);
        // CBOR: {"fmt": "none", "attStmt": {}, "authData": …}.
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        object.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        object.extend(data);
        json!({
            "id": BASE64.encode(&self.id),
            "rawId": BASE64.encode(&self.id),
            "type": "public-key",
            "response": { "clientDataJSON": BASE64.encode(client), "attestationObject": BASE64.encode(object), "transports": ["internal"] },
            "clientExtensionResults": {},
        })
    }

    /// Signs: what `navigator.credentials.get` gives for these options.
    pub(crate) fn sign(&mut self, options: &Value) -> Value {
        self.count = self.count.map(|count| count + 1);
        let client = self.client("webauthn.get", options);
        let data = self.data(0);
        let signed = [&data[..], digest(&SHA256, client.as_bytes()).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        json!({
            "id": BASE64.encode(&self.id),
            "rawId": BASE64.encode(&self.id),
            "type": "public-key",
            "response": {
                "clientDataJSON": BASE64.encode(client),
                "authenticatorData": BASE64.encode(data),
                "signature": BASE64.encode(signature),
                "userHandle": self.user.as_ref().map(|user| BASE64.encode(user)),
            },
            "clientExtensionResults": {},
        })
    }

    fn client(&self, kind: &str, options: &Value) -> String {
        json!({ "type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false })
            .to_string()
    }

    fn data(&self, more: u8) -> Vec<u8> {
        let flags = PRESENT | if self.verifies { VERIFIED } else { 0 } | more;
        let count = self.count.unwrap_or(0).to_be_bytes();
        [digest(&SHA256, self.rp.as_bytes()).as_ref(), &[flags], &count].concat()
    }
}
