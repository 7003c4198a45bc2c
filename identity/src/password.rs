//! Passwords: Argon2id for ours, bcrypt for those that come from older systems (verified once, then rehashed).
//!
//! Hashing costs tens of milliseconds and 19 MiB; running it off the async threads, a few at a time, is the caller's part.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc};
use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use rand::CryptoRng;
use zeroize::Zeroizing;

/// The longest password that is hashed; a longer one would only be a way to burn our processors (OWASP).
const LONGEST: usize = 1024;
/// The most that the parameters inside a stored hash may ask for: they came from elsewhere.
const MOST_MEMORY_KIB: u32 = 64 * 1024;
const MOST_ITERATIONS: u32 = 10;
const MOST_LANES: u32 = 8;
const MOST_BCRYPT_COST: u32 = 14;
/// Below, there is no bcrypt.
const LEAST_BCRYPT_COST: u32 = 4;
/// Salt of RFC 9106 §3.1.
const SALT_BYTES: usize = 16;

/// A password in clear. It has no `Debug` and is wiped when dropped.
#[derive(Clone)]
pub struct Password(pub(crate) Zeroizing<String>);

/// A password's hash as it is stored: PHC text of Argon2, or bcrypt's own.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// The cost of Argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Params {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

/// Why a password cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Empty.
    #[error("a password is needed")]
    Empty,
    /// Over 1,024 bytes.
    #[error("the password is longer than 1024 bytes")]
    TooLong,
    /// Holds a NUL, which some systems cut texts at.
    #[error("the password contains a character that passwords cannot have")]
    Character,
    /// Fewer characters than the rules ask for.
    #[error("the password needs at least {0} characters")]
    TooShort(usize),
    /// A class of characters is missing.
    #[error("the password needs an upper case letter, a lower case letter and a digit")]
    Classes,
    /// Among those that everybody tries first.
    #[error("the password is one of those that are guessed first")]
    Common,
    /// Among those that were stolen from others.
    #[error("the password was stolen somewhere, together with others, and is known to whoever guesses")]
    Breached,
    /// Little more than what others know of its owner.
    #[error("the password is little more than a word that others know of you or of this platform")]
    Context,
    /// Guessed too soon.
    #[error("the password is too easy to guess; more words, or rarer ones, make it harder")]
    Weak,
    /// Argon2 cannot work with these parameters.
    #[error("the Argon2 parameters are out of range")]
    Params,
}

/// What came of checking a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right.
    Match,
    /// Right, but the hash is of another algorithm or cost than ours: hash it anew.
    MatchNeedsRehash,
    /// Wrong.
    Mismatch,
}

/// What a check has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Computations of Argon2.
    pub argon2: u64,
    /// Rounds of bcrypt: 2 to the power of its cost for each computation.
    pub bcrypt_rounds: u64,
}

/// Hashes and checks passwords at one cost.
pub struct Hasher {
    argon2: Argon2<'static>,
    params: Argon2Params,
    decoy: PasswordHash,
}

// === impl Password ===

impl Password {
    /// By what one that was tried twice is known again, as long as the key is: 24 bits, so that whoever reads the memory of a running
    /// process finds many passwords for each, and of those that are tried at the same time few are taken for one another.
    #[must_use]
    pub fn mark(&self, key: &[u8; 32]) -> u32 {
        let keyed = Zeroizing::new([key.as_slice(), self.0.as_bytes()].concat());
        let [a, b, c, ..] = *crate::SecretDigest::of(&keyed).as_bytes();
        u32::from_be_bytes([0, a, b, c])
    }

    /// Its SHA-1 in upper-case hexadecimal digits, which is how lists of stolen passwords name it. For nothing else: it is soon guessed.
    #[must_use]
    pub fn sha1(&self) -> [u8; 40] {
        let hex = b"0123456789ABCDEF";
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, self.0.as_bytes());
        let mut digits = [0; 40];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(digest.as_ref()) {
            pair.copy_from_slice(&[hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]]);
        }
        digits
    }

    /// Takes a password as it was typed: nothing is trimmed, folded or cut off.
    pub fn new(text: String) -> Result<Self, PasswordError> {
        let text = Zeroizing::new(text);
        match text.len() {
            0 => Err(PasswordError::Empty),
            1..=LONGEST if text.contains('\0') => Err(PasswordError::Character),
            1..=LONGEST => Ok(Self(text)),
            _ => Err(PasswordError::TooLong),
        }
    }
}

impl PasswordHash {
    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it the hash of nothing ([`Hasher::decoy`], of whatever cost), which no password matches?
    #[must_use]
    pub fn is_of_nothing(&self) -> bool {
        self.0.is_empty() || self.0.rsplit('$').next() == Some(&zeros(&[0; Params::DEFAULT_OUTPUT_LEN]))
    }

    /// A hash that another system has made, if [`Hasher::verify`] will understand it and may afford to.
    pub fn imported(text: String) -> Result<Self, &'static str> {
        const TOO_DEAR: &str = "the password's hash costs more to check than we are ready to spend";
        if let Some(rest) = ["$2a$", "$2b$", "$2y$"].iter().find_map(|version| text.strip_prefix(version)) {
            let (cost, hash) = rest.split_once('$').unwrap_or_default();
            let is_whole =
                hash.len() == 53 && hash.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte));
            return match cost.parse::<u32>() {
                Ok(4..=MOST_BCRYPT_COST) if is_whole && cost.len() == 2 => Ok(Self(text)),
                Ok(_) if is_whole && cost > "14" => Err(TOO_DEAR),
                _ => Err("the password's hash is not a whole one of bcrypt"),
            };
        }
        let hash = phc::PasswordHash::new(&text)
            .ok()
            .filter(|hash| hash.algorithm.as_str() == "argon2id" && hash.hash.is_some());
        let params = hash.as_ref().and_then(|hash| Params::try_from(hash).ok());
        match params {
            None => Err("the password's hash is neither bcrypt ($2a$, $2b$, $2y$) nor Argon2id in PHC form"),
            Some(params) if is_too_dear(&params) => Err(TOO_DEAR),
            Some(_) => Ok(Self(text)),
        }
    }
}

fn is_too_dear(params: &Params) -> bool {
    params.m_cost() > MOST_MEMORY_KIB || params.t_cost() > MOST_ITERATIONS || params.p_cost() > MOST_LANES
}

impl From<String> for PasswordHash {
    fn from(stored: String) -> Self {
        Self(stored)
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl Default for Argon2Params {
    /// OWASP's first choice.
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2, parallelism: 1 }
    }
}

// === impl Hasher ===

impl Hasher {
    /// A hasher of this cost.
    pub fn new(params: Argon2Params) -> Result<Self, PasswordError> {
        let Argon2Params { memory_kib, iterations, parallelism } = params;
        if memory_kib > MOST_MEMORY_KIB || iterations > MOST_ITERATIONS || parallelism > MOST_LANES {
            return Err(PasswordError::Params);
        }
        let own = Params::new(memory_kib, iterations, parallelism, None).map_err(|_| PasswordError::Params)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, own);
        Ok(Self { argon2, params, decoy: decoy(params) })
    }

    /// Hashes a password with a fresh salt.
    ///
    /// # Panics
    /// When there is no memory to hash in. (Anything returned instead would be stored as somebody's password.)
    pub fn hash<R: CryptoRng>(&self, password: &Password, rng: &mut R) -> PasswordHash {
        let mut salt = [0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        hash_with(&self.argon2, password.0.as_bytes(), &salt)
            .expect("the parameters were checked in `new`, and neither salt nor password can be out of range")
    }

    /// Checks a password against a stored hash. A hash that cannot be read, or that asks for more than we are ready to
    /// spend, matches nothing.
    #[must_use]
    pub fn verify(&self, password: &Password, stored: &PasswordHash) -> Verdict {
        self.verify_counting(password, stored, &mut Work::default())
    }

    /// The same for an account that may not be there. A wrong password takes the same work whatever is stored, and if nothing is: Argon2
    /// once, and as many rounds of bcrypt as a hash of the cost `dearest`, which is that of the dearest one that anybody has; none once
    /// nobody has one. So how long a failed login takes says nothing of its account.
    #[must_use]
    pub fn check(&self, password: &Password, stored: Option<&PasswordHash>, dearest: Option<u32>) -> (Verdict, Work) {
        let mut work = Work::default();
        let verdict = stored.map_or(Verdict::Mismatch, |stored| self.verify_counting(password, stored, &mut work));
        if verdict == Verdict::Mismatch {
            self.top_up(password, dearest, &mut work);
        }
        (verdict, work)
    }

    fn verify_counting(&self, password: &Password, stored: &PasswordHash, work: &mut Work) -> Verdict {
        if stored.0.starts_with("$2") {
            verify_bcrypt(password, &stored.0, work)
        } else {
            self.verify_argon2(password, &stored.0, work)
        }
    }

    /// Does what is missing. 2^d is 2^c and 2^c, 2^(c+1), … 2^(d−1).
    fn top_up(&self, password: &Password, dearest: Option<u32>, work: &mut Work) {
        if work.argon2 == 0 {
            self.verify_argon2(password, &self.decoy.0, work);
        }
        let wanted = dearest.map_or(0_u64, |cost| 1 << cost.clamp(LEAST_BCRYPT_COST, MOST_BCRYPT_COST));
        while let Some(cost) = wanted.saturating_sub(work.bcrypt_rounds).checked_ilog2() {
            // What comes of it is nobody's; nor is it an error that the cost could not be one.
            std::hint::black_box(bcrypt::hash_with_salt(&*password.0, cost, [0; SALT_BYTES]).is_ok());
            work.bcrypt_rounds += 1 << cost;
        }
    }

    /// A hash of the same cost that no account has: checking against it takes as long as checking against a real one.
    #[must_use]
    pub fn decoy(&self) -> &PasswordHash {
        &self.decoy
    }

    fn verify_argon2(&self, password: &Password, stored: &str, work: &mut Work) -> Verdict {
        let Ok(hash) = phc::PasswordHash::new(stored) else { return Verdict::Mismatch };
        let Ok(params) = Params::try_from(&hash) else { return Verdict::Mismatch };
        if is_too_dear(&params) {
            return Verdict::Mismatch;
        }
        work.argon2 += 1;
        if self.argon2.verify_password(password.0.as_bytes(), &hash).is_err() {
            return Verdict::Mismatch;
        }
        let own = self.params;
        let same = hash.algorithm.as_str() == "argon2id"
            && hash.version == Some(Version::V0x13.into())
            && (params.m_cost(), params.t_cost(), params.p_cost()) == (own.memory_kib, own.iterations, own.parallelism);
        if same { Verdict::Match } else { Verdict::MatchNeedsRehash }
    }
}

/// A hash of nothing: no password's comes out as zeros. Not computed, since the memory of it would stay in use for no reason.
fn decoy(Argon2Params { memory_kib, iterations, parallelism }: Argon2Params) -> PasswordHash {
    let (salt, hash) = (zeros(&[0; SALT_BYTES]), zeros(&[0; Params::DEFAULT_OUTPUT_LEN]));
    PasswordHash(format!("$argon2id$v=19$m={memory_kib},t={iterations},p={parallelism}${salt}${hash}"))
}

fn zeros(bytes: &[u8]) -> String {
    BASE64_STANDARD_NO_PAD.encode(bytes)
}

fn hash_with(argon2: &Argon2<'_>, password: &[u8], salt: &[u8]) -> Option<PasswordHash> {
    argon2.hash_password_with_salt(password, salt).ok().map(|hash: phc::PasswordHash| PasswordHash(hash.to_string()))
}

/// bcrypt looks at 72 bytes and no more; hashes from older systems were made so and have to be checked so. (`$2x$` marks a
/// fault of one old implementation with bytes over 127; such passwords do not match and have to be reset.)
fn verify_bcrypt(password: &Password, stored: &str, work: &mut Work) -> Verdict {
    let cost = stored.split('$').nth(2).and_then(|cost| cost.parse::<u32>().ok());
    let Some(cost) = cost.filter(|cost| (LEAST_BCRYPT_COST..=MOST_BCRYPT_COST).contains(cost)) else {
        return Verdict::Mismatch;
    };
    // If it cannot be read, nothing is computed.
    let Ok(matches) = bcrypt::verify(&*password.0, stored) else { return Verdict::Mismatch };
    work.bcrypt_rounds += 1 << cost;
    if matches { Verdict::MatchNeedsRehash } else { Verdict::Mismatch }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn cheap() -> Hasher {
        Hasher::new(Argon2Params { memory_kib: 64, iterations: 1, parallelism: 1 }).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::new(text.to_owned()).unwrap()
    }

    #[test]
    fn a_wrong_password_takes_the_same_work_whatever_the_account_has() {
        let (hasher, mut rng) = (cheap(), StdRng::seed_from_u64(1));
        let own = hasher.hash(&password("right"), &mut rng);
        let imported = |cost| PasswordHash::from(bcrypt::hash_with_salt("right", cost, [7; 16]).unwrap().to_string());
        let (imported, unreadable) = ([4, 5, 7].map(imported), PasswordHash::from("$2b$07$cut off".to_owned()));
        let accounts: Vec<_> = [None, Some(&own), Some(&unreadable), Some(hasher.decoy())].into_iter().collect();
        for stored in accounts.iter().copied().chain(imported.iter().map(Some)) {
            let checked = hasher.check(&password("wrong"), stored, Some(7));
            assert_eq!(checked, (Verdict::Mismatch, Work { argon2: 1, bcrypt_rounds: 128 }), "{stored:?}");
        }
        // Once nobody has a hash of bcrypt, none is computed.
        for stored in accounts {
            let checked = hasher.check(&password("wrong"), stored, None);
            assert_eq!(checked, (Verdict::Mismatch, Work { argon2: 1, bcrypt_rounds: 0 }), "{stored:?}");
        }
        // Whoever knows the password waits for nothing else.
        let right = |stored| hasher.check(&password("right"), Some(stored), Some(7));
        assert_eq!(right(&own), (Verdict::Match, Work { argon2: 1, bcrypt_rounds: 0 }));
        assert_eq!(right(&imported[1]), (Verdict::MatchNeedsRehash, Work { argon2: 0, bcrypt_rounds: 32 }));
    }

    #[test]
    fn a_password_matches_its_own_hash_and_no_other() {
        let (hasher, mut rng) = (cheap(), StdRng::seed_from_u64(1));
        let hash = hasher.hash(&password("Correct horse"), &mut rng);
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert_eq!(hasher.verify(&password("Correct horse"), &hash), Verdict::Match);
        for wrong in ["correct horse", "Correct horse ", "Correct hors", "x"] {
            assert_eq!(hasher.verify(&password(wrong), &hash), Verdict::Mismatch, "{wrong}");
        }
        assert_ne!(hash, hasher.hash(&password("Correct horse"), &mut rng), "every hash has its own salt");
    }

    #[test]
    fn the_decoy_costs_the_same_and_nothing_matches_it() {
        let hasher = cheap();
        let own = hasher.hash(&password("x"), &mut StdRng::seed_from_u64(1));
        let cost = |hash: &PasswordHash| hash.0.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!((cost(hasher.decoy()), hasher.decoy().0.len()), (cost(&own), own.0.len()));
        // It is read and hashed against like any other: the parameters come from it, and its output has the right length.
        assert!(phc::PasswordHash::new(&hasher.decoy().0).is_ok());
        assert!(hasher.decoy().is_of_nothing() && !own.is_of_nothing());
        for guess in ["decoy", "A", "\u{1}", "password"] {
            assert_eq!(hasher.verify(&password(guess), hasher.decoy()), Verdict::Mismatch, "{guess}");
        }
    }

    #[test]
    fn a_hash_of_another_variant_or_version_matches_and_asks_to_be_made_anew() {
        let own = Params::new(64, 1, 1, None).unwrap();
        for (algorithm, version, verdict) in [
            (Algorithm::Argon2id, Version::V0x13, Verdict::Match),
            (Algorithm::Argon2id, Version::V0x10, Verdict::MatchNeedsRehash),
            (Algorithm::Argon2i, Version::V0x13, Verdict::MatchNeedsRehash),
            (Algorithm::Argon2d, Version::V0x13, Verdict::MatchNeedsRehash),
        ] {
            let hash = hash_with(&Argon2::new(algorithm, version, own.clone()), b"same", &[1; SALT_BYTES]).unwrap();
            assert_eq!(cheap().verify(&password("same"), &hash), verdict, "{}", hash.0);
        }
    }

    #[test]
    fn a_hash_of_another_cost_matches_and_asks_to_be_made_anew() {
        let hash = cheap().hash(&password("same"), &mut StdRng::seed_from_u64(2));
        let dearer = Hasher::new(Argon2Params { memory_kib: 128, iterations: 1, parallelism: 1 }).unwrap();
        assert_eq!(dearer.verify(&password("same"), &hash), Verdict::MatchNeedsRehash);
        assert_eq!(dearer.verify(&password("other"), &hash), Verdict::Mismatch);
    }

    #[test]
    fn bcrypt_hashes_of_older_systems_match_once() {
        for prefix in ["$2a$", "$2b$", "$2x$", "$2y$"] {
            let made = bcrypt::hash_with_salt("legacy", 4, [7; 16]).unwrap().to_string();
            let hash = PasswordHash::from(made.replacen("$2b$", prefix, 1));
            assert_eq!(cheap().verify(&password("legacy"), &hash), Verdict::MatchNeedsRehash, "{prefix}");
            assert_eq!(cheap().verify(&password("other"), &hash), Verdict::Mismatch);
        }
    }

    #[test]
    fn a_long_password_is_not_cut_off_by_argon2_and_is_by_bcrypt_as_it_always_was() {
        let (long, other) = ("x".repeat(72) + "A", "x".repeat(72) + "B");
        let own = cheap().hash(&password(&long), &mut StdRng::seed_from_u64(1));
        assert_eq!(cheap().verify(&password(&other), &own), Verdict::Mismatch);
        let legacy = PasswordHash::from(bcrypt::hash_with_salt(&long, 4, [7; 16]).unwrap().to_string());
        assert_eq!(cheap().verify(&password(&other), &legacy), Verdict::MatchNeedsRehash);
    }

    /// These hashes are right: only their price is not.
    #[test]
    fn a_hash_that_costs_more_than_the_cap_matches_nothing() {
        for (memory, passes, lanes, good) in [
            (64, MOST_ITERATIONS, 1, true),
            (64, 1, MOST_LANES, true),
            (MOST_MEMORY_KIB, 1, 1, true),
            (64, MOST_ITERATIONS + 1, 1, false),
            (72, 1, MOST_LANES + 1, false),
            (MOST_MEMORY_KIB + 1, 1, 1, false),
        ] {
            let argon2 =
                Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(memory, passes, lanes, None).unwrap());
            let hash = hash_with(&argon2, b"x", &[1; SALT_BYTES]).unwrap();
            assert_eq!(cheap().verify(&password("x"), &hash) != Verdict::Mismatch, good, "{}", hash.0);
            assert_eq!(
                Hasher::new(Argon2Params { memory_kib: memory, iterations: passes, parallelism: lanes }).is_ok(),
                good
            );
        }
    }

    #[test]
    fn a_stored_hash_that_cannot_be_read_or_asks_too_much_matches_nothing() {
        let bcrypt = bcrypt::hash_with_salt("x", 4, [7; 16]).unwrap().to_string();
        assert_eq!(cheap().verify(&password("x"), &bcrypt.clone().into()), Verdict::MatchNeedsRehash);
        let (dear, dearest) = (bcrypt.replace("$04$", "$15$"), bcrypt.replace("$04$", "$31$"));
        let argon2 =
            "$argon2id$v=19$m=64,t=4000000000,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for stored in [
            &dear,
            &dearest,
            argon2,
            "",
            "$2b$",
            "$2b$04$",
            "$argon2id$",
            "$argon2id$v=19$m=64,t=1,p=1",
            "plain",
            "$2b$xx$\u{e9}",
        ] {
            // Without the cap the dearest takes months, which is how this test would tell.
            assert_eq!(
                cheap().verify(&password("x"), &PasswordHash::from(stored.to_owned())),
                Verdict::Mismatch,
                "{stored}"
            );
        }
    }

    #[test]
    fn what_is_no_password_is_refused_and_nothing_is_cut_off() {
        assert_eq!(Password::new(String::new()).err(), Some(PasswordError::Empty));
        assert_eq!(Password::new("a\0b".into()).err(), Some(PasswordError::Character));
        assert_eq!(Password::new("x".repeat(1025)).err(), Some(PasswordError::TooLong));
        assert_eq!(Password::new("x".repeat(1 << 20)).err(), Some(PasswordError::TooLong));
        assert!(Password::new("x".repeat(1024)).is_ok());
        // White space is part of it.
        let (hasher, mut rng) = (cheap(), StdRng::seed_from_u64(1));
        let hash = hasher.hash(&password(" pass word "), &mut rng);
        assert_eq!(hasher.verify(&password("pass word"), &hash), Verdict::Mismatch);
    }
}
