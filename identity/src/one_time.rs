//! Tokens that serve once, for one purpose: they travel by mail and prove that somebody reads it.
//!
//! What is kept of one is the digest of its purpose and its text together: a token that was made to confirm an address is, to
//! whoever looks for one that buys a password, the token of nobody, also if a record were moved from one purpose to another.

use uuid::Uuid;

use crate::{
    SecretDigest,
    opaque::{Kind, Opaque},
};

/// One-time tokens: `pco_…`.
pub enum OneTimeKind {}
/// What a browser is known by: `pcd_…`.
pub enum DeviceKind {}

/// A one-time token.
pub type OneTimeToken = Opaque<OneTimeKind>;
/// What a browser is known by. It opens nothing: it tells one browser from another.
pub type DeviceToken = Opaque<DeviceKind>;

impl Kind for OneTimeKind {
    const PREFIX: &'static str = "pco_";
    type Id = Uuid;
    fn bits(id: Uuid) -> u128 {
        id.as_u128()
    }
}

impl Kind for DeviceKind {
    const PREFIX: &'static str = "pcd_";
    type Id = Uuid;
    fn bits(id: Uuid) -> u128 {
        id.as_u128()
    }
}

/// What a one-time token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneTimePurpose {
    /// To confirm the address of an account.
    VerifyEmail,
    /// To make an account that was asked for.
    Register,
    /// To choose a new password.
    ResetPassword,
    /// To log in.
    MagicLink,
    /// To show a second factor: the password, or what stands for it, was right.
    SecondFactor,
    /// To give an account another address.
    ChangeEmail,
    /// To take over an account that an administrator has made for somebody.
    Invite,
    /// To come back from a login at somebody else's (`state`).
    OauthState,
    /// To link what somebody else has said to an account, once its owner has agreed.
    LinkIdentity,
    /// To log in by a passkey: what it has to sign.
    PasskeyLogin,
    /// To show a passkey within a session: what it has to sign.
    PasskeyProof,
}

// === impl OneTimePurpose ===

impl OneTimePurpose {
    /// Every purpose.
    pub const ALL: [Self; 11] = [
        Self::VerifyEmail,
        Self::Register,
        Self::ResetPassword,
        Self::MagicLink,
        Self::SecondFactor,
        Self::ChangeEmail,
        Self::Invite,
        Self::OauthState,
        Self::LinkIdentity,
        Self::PasskeyLogin,
        Self::PasskeyProof,
    ];

    /// As it is stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::Register => "register",
            Self::ResetPassword => "reset_password",
            Self::MagicLink => "magic_link",
            Self::SecondFactor => "second_factor",
            Self::ChangeEmail => "change_email",
            Self::Invite => "invite",
            Self::OauthState => "oauth_state",
            Self::LinkIdentity => "link_identity",
            Self::PasskeyLogin => "passkey_login",
            Self::PasskeyProof => "passkey_proof",
        }
    }
}

// === impl OneTimeToken ===

impl OneTimeToken {
    /// What is kept of a token of this purpose.
    #[must_use]
    pub fn digest_for(&self, purpose: OneTimePurpose) -> SecretDigest {
        // No word contains a NUL, so no two pairs are one text.
        let bound = zeroize::Zeroizing::new(format!("{}\0{}", purpose.word(), self.expose()));
        SecretDigest::of(bound.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::RefreshToken;

    #[test]
    fn a_token_of_one_purpose_is_another_for_each_other_purpose() {
        let token = OneTimeToken::generate(Uuid::from_u128(7), &mut StdRng::seed_from_u64(1));
        for (index, one) in OneTimePurpose::ALL.into_iter().enumerate() {
            assert_eq!(token.digest_for(one), token.digest_for(one));
            assert_ne!(token.digest_for(one), token.digest(), "the purpose is part of it");
            for other in OneTimePurpose::ALL.into_iter().skip(index + 1) {
                assert_ne!(token.digest_for(one), token.digest_for(other), "{one:?} {other:?}");
                assert_ne!(one.word(), other.word());
            }
        }
    }

    #[test]
    fn a_one_time_token_is_no_refresh_token_and_no_device() {
        let token = OneTimeToken::generate(Uuid::from_u128(7), &mut StdRng::seed_from_u64(1));
        assert!(OneTimeToken::parse(token.expose()).is_ok());
        assert!(RefreshToken::parse(token.expose()).is_err());
        assert!(DeviceToken::parse(token.expose()).is_err());
    }
}
