//! Keys that sign and keys that verify. Each is bound to one algorithm and one id.

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use rand::CryptoRng;
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Algorithm, TokenType, jwk};

/// The shortest secret of HS256, in bytes (RFC 7518 §3.2).
const SHORTEST_SECRET: usize = 32;

/// A private key. It has no `Debug`.
pub struct SigningKey {
    kid: String,
    private: Private,
}

enum Private {
    Ed25519(Zeroizing<[u8; 32]>, Ed25519KeyPair),
    Rsa(Zeroizing<Vec<u8>>, RsaKeyPair),
    P256(Zeroizing<Vec<u8>>, EcdsaKeyPair),
    Hmac(Zeroizing<Vec<u8>>),
}

/// A key that verifies, read once and ready for use.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: String,
    algorithm: Algorithm,
    key: DecodingKey,
    /// As it is published; a shared secret never is.
    jwk: Option<Value>,
}

/// The keys that are trusted, by id.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    /// The one key that a token without an id may match.
    kidless: Option<String>,
    /// Keys that have no id, of an issuer that may sign tokens without one.
    nameless: Option<Vec<VerifyingKey>>,
}

/// Why bytes are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A shared secret under 32 bytes can be guessed.
    #[error("a shared secret needs 32 bytes or more")]
    TooShort,
    /// Not a key of that algorithm.
    #[error("these bytes are not a key of that algorithm")]
    Malformed,
}

// === impl SigningKey ===

impl SigningKey {
    /// A fresh key. RSA and P-256 keys come from aws-lc's own generator, which takes no other; their `rng` is not used.
    pub fn generate<R: CryptoRng>(algorithm: Algorithm, kid: String, rng: &mut R) -> Result<Self, KeyError> {
        let bytes = match algorithm {
            Algorithm::EdDsa | Algorithm::Hs256 => {
                let mut seed = Zeroizing::new(vec![0; 32]);
                rng.fill_bytes(&mut seed);
                seed
            }
            Algorithm::Rs256 => {
                let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map_err(|_| KeyError::Malformed)?;
                Zeroizing::new(pair.as_der().map_err(|_| KeyError::Malformed)?.as_ref().to_vec())
            }
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyError::Malformed)?;
                Zeroizing::new(pair.to_pkcs8v1().map_err(|_| KeyError::Malformed)?.as_ref().to_vec())
            }
        };
        Self::from_bytes(algorithm, kid, &bytes)
    }

    /// The key of HS256 that is shared with services which verify our tokens themselves.
    pub fn hs256(secret: &[u8], kid: String) -> Result<Self, KeyError> {
        Self::from_bytes(Algorithm::Hs256, kid, secret)
    }

    /// As [`Self::to_bytes`] gave it.
    pub fn from_bytes(algorithm: Algorithm, kid: String, bytes: &[u8]) -> Result<Self, KeyError> {
        let own = || Zeroizing::new(bytes.to_vec());
        let private = match algorithm {
            Algorithm::EdDsa => {
                let seed: [u8; 32] = bytes.try_into().map_err(|_| KeyError::Malformed)?;
                let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Malformed)?;
                Private::Ed25519(Zeroizing::new(seed), pair)
            }
            Algorithm::Rs256 => Private::Rsa(own(), RsaKeyPair::from_pkcs8(bytes).map_err(|_| KeyError::Malformed)?),
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes);
                Private::P256(own(), pair.map_err(|_| KeyError::Malformed)?)
            }
            Algorithm::Hs256 if bytes.len() < SHORTEST_SECRET => return Err(KeyError::TooShort),
            Algorithm::Hs256 => Private::Hmac(own()),
        };
        Ok(Self { kid, private })
    }

    /// For sealing: the seed of Ed25519, PKCS#8 of RSA and P-256, the secret of HMAC.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        match &self.private {
            Private::Ed25519(seed, _) => Zeroizing::new(seed.to_vec()),
            Private::Rsa(bytes, _) | Private::P256(bytes, _) | Private::Hmac(bytes) => bytes.clone(),
        }
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match &self.private {
            Private::Ed25519(..) => Algorithm::EdDsa,
            Private::Rsa(..) => Algorithm::Rs256,
            Private::P256(..) => Algorithm::Es256,
            Private::Hmac(_) => Algorithm::Hs256,
        }
    }

    /// A token that says `claims`.
    ///
    /// # Panics
    /// When `claims` cannot be written as JSON, such as a map whose keys are no texts.
    pub fn sign<C: Serialize>(&self, typ: TokenType, claims: &C) -> String {
        let header = json!({ "alg": self.algorithm().name(), "typ": typ.name(), "kid": self.kid });
        let claims = serde_json::to_vec(claims).expect("claims are structs of texts and numbers");
        let mut token = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.signature(token.as_bytes());
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    #[expect(clippy::disallowed_methods, reason = "aws-lc takes no other generator; RS256 needs none, ES256 its nonce")]
    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let rng = SystemRandom::new();
        match &self.private {
            Private::Ed25519(_, pair) => pair.sign(message).as_ref().to_vec(),
            Private::Rsa(_, pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &rng, message, &mut signature)
                    .expect("the buffer has the modulus' length");
                signature
            }
            Private::P256(_, pair) => pair.sign(&rng, message).expect("aws-lc has randomness").as_ref().to_vec(),
            Private::Hmac(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec(),
        }
    }

    /// The key that verifies what this one signs.
    ///
    /// # Panics
    /// Never: a private key that could be read has a public half that can.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        let members = match &self.private {
            Private::Ed25519(_, pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref()) })
            }
            Private::Rsa(_, pair) => {
                let public = pair.public_key();
                json!({ "kty": "RSA", "n": b64(public.modulus().big_endian_without_leading_zero()), "e": b64(public.exponent().big_endian_without_leading_zero()) })
            }
            Private::P256(_, pair) => {
                // Uncompressed point: 4, x, y (SEC 1 §2.3.3).
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y) })
            }
            Private::Hmac(secret) => return VerifyingKey::secret(self.kid.clone(), secret),
        };
        let mut jwk = json!({ "use": "sig", "alg": self.algorithm().name(), "kid": self.kid });
        if let (Value::Object(jwk), Value::Object(members)) = (&mut jwk, members) {
            jwk.extend(members);
        }
        VerifyingKey::from_jwk(&jwk).expect("our own JWK is well formed")
    }
}

fn b64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

// === impl VerifyingKey ===

impl VerifyingKey {
    /// A public key as a JWK (RFC 7517) with `kid` and `alg`. Secrets (`oct`), other curves, points off the curve, RSA under
    /// 2048 bits or with a useless exponent, and keys for encryption are refused. What is private in it is left out.
    pub fn from_jwk(jwk: &Value) -> Result<Self, KeyError> {
        let kid = jwk.get("kid").and_then(Value::as_str).ok_or(KeyError::Malformed)?;
        let (algorithm, key) = jwk::read(jwk).ok_or(KeyError::Malformed)?;
        Ok(Self { kid: kid.to_owned(), algorithm, key, jwk: Some(jwk::public(jwk)) })
    }

    /// The same, but that it need name neither its algorithm nor itself; then its id is empty.
    pub(super) fn of_issuer(jwk: &Value) -> Result<Self, KeyError> {
        let kid = match jwk.get("kid") {
            None => "",
            Some(kid) => kid.as_str().filter(|kid| !kid.is_empty()).ok_or(KeyError::Malformed)?,
        };
        let (algorithm, key) = jwk::read_of_issuer(jwk).ok_or(KeyError::Malformed)?;
        Ok(Self { kid: kid.to_owned(), algorithm, key, jwk: Some(jwk::public(jwk)) })
    }

    /// The secret of HS256.
    fn secret(kid: String, secret: &[u8]) -> Self {
        Self { kid, algorithm: Algorithm::Hs256, key: DecodingKey::from_secret(secret), jwk: None }
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The one algorithm it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// As it is published; `None` for a secret.
    #[must_use]
    pub const fn jwk(&self) -> Option<&Value> {
        self.jwk.as_ref()
    }

    /// Does the signature (base64url) match the message?
    pub(crate) fn verifies(&self, signature: &str, message: &[u8]) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm.for_verifying()).unwrap_or(false)
    }
}

// === impl KeySet ===

impl KeySet {
    /// Trusts `keys`; a token without a `kid` may match `kidless` and no other. Neither algorithms nor keys are ever tried in
    /// turn: an id that two keys have names none of them.
    #[must_use]
    pub fn new(keys: Vec<VerifyingKey>, kidless: Option<&str>) -> Self {
        Self { keys, kidless: kidless.map(str::to_owned), nameless: None }
    }

    /// Trusts what an issuer publishes: keys by their ids, and others that have none. A token without a `kid` may match whichever key is
    /// the only one of its algorithm (RFC 7515 §4.1.4 lets `kid` be left out, RFC 7517 §4.5 too): there is nothing to try in turn.
    pub(super) fn published(keys: Vec<VerifyingKey>, nameless: Vec<VerifyingKey>) -> Self {
        Self { keys, kidless: None, nameless: Some(nameless) }
    }

    /// Does it trust nobody?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.nameless.as_ref().is_none_or(Vec::is_empty)
    }

    /// The keys as a JWK Set (RFC 7517 §5), without secrets.
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({ "keys": self.every_key().filter_map(VerifyingKey::jwk).collect::<Vec<_>>() })
    }

    /// The one key that a token may be checked with. What it says of its algorithm chooses only where nothing else does.
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: Option<&str>) -> Option<&VerifyingKey> {
        match kid.or(self.kidless.as_deref()) {
            Some(kid) => the_only_one(self.keys.iter().filter(|key| key.kid == kid)),
            None if self.nameless.is_some() => {
                the_only_one(self.every_key().filter(|key| algorithm == Some(key.algorithm.name())))
            }
            None => None,
        }
    }

    fn every_key(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.iter().chain(self.nameless.iter().flatten())
    }
}

fn the_only_one<'a>(mut keys: impl Iterator<Item = &'a VerifyingKey>) -> Option<&'a VerifyingKey> {
    let key = keys.next()?;
    keys.next().is_none().then_some(key)
}
