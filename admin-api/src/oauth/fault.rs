//! Every way in which a login at somebody else's comes to nothing: a stable code and a sentence each. What a provider says of it in
//! words of its own is never shown: they come by the browser, and anybody could have written them.

use super::ProviderFault;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OauthFault {
    #[error("the state was not begun in this browser, is over, or was used")]
    State,
    #[error("a page of somebody else's has sent the browser")]
    ForeignStart,
    #[error("whoever was asked at the provider did not agree")]
    Denied,
    #[error(transparent)]
    Provider(#[from] ProviderFault),
    #[error("the provider has not verified the address")]
    EmailUnverified,
    #[error("nobody is known, and nobody is taken in")]
    SignUpClosed,
    #[error("there is nothing to agree to")]
    NothingToLink,
    #[error("the subject is another account's")]
    IdentityTaken,
    #[error("it is the only way in")]
    LastWayIn,
}

// === impl OauthFault ===

impl OauthFault {
    /// What an error at the provider means (RFC 6749 §4.1.2.1, `OpenID` Connect Core §3.1.2.6).
    pub(crate) fn said(error: &str) -> Self {
        match error {
            "access_denied"
            | "login_required"
            | "interaction_required"
            | "consent_required"
            | "account_selection_required" => Self::Denied,
            "temporarily_unavailable" | "server_error" => Self::Provider(ProviderFault::Away),
            _ => Self::Provider(ProviderFault::Refused),
        }
    }

    /// Status, code, and a few words.
    pub(crate) const fn face(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::State => (400, "invalid_state", "Sign-in not begun here"),
            Self::ForeignStart => (403, "foreign_start", "Sign-in begun elsewhere"),
            Self::Denied => (403, "provider_denied", "Not signed in"),
            Self::Provider(ProviderFault::Away) => (503, "provider_unavailable", "Provider unavailable"),
            Self::Provider(ProviderFault::Broken) => (502, "provider_broken", "Provider not understood"),
            Self::Provider(ProviderFault::Refused) => (502, "provider_refused", "Refused by the provider"),
            Self::Provider(ProviderFault::CodeRefused) => (400, "code_refused", "Sign-in over"),
            Self::Provider(ProviderFault::WrongIssuer) => (400, "wrong_issuer", "Another's answer"),
            Self::Provider(ProviderFault::TooLongAgo) => (403, "provider_login_too_old", "Signed in too long ago"),
            Self::Provider(ProviderFault::IdToken) => (502, "invalid_id_token", "Provider not believed"),
            Self::EmailUnverified => (403, "provider_email_unverified", "Address not confirmed there"),
            Self::SignUpClosed => (403, "sign_up_closed", "No account"),
            Self::NothingToLink => (400, "nothing_to_link", "Nothing to link"),
            Self::IdentityTaken => (409, "identity_taken", "Linked to another account"),
            Self::LastWayIn => (409, "last_way_in", "Last way in"),
        }
    }

    /// A sentence that helps.
    pub(crate) const fn detail(self) -> &'static str {
        match self {
            Self::State => "This answers no sign-in that was begun in this browser, or one that is over; begin again.",
            Self::ForeignStart => {
                "Another site has sent you here to sign in; if you mean to, begin at this platform's sign-in page."
            }
            Self::Denied => "The provider says that you did not sign in or did not agree; nothing has changed here.",
            Self::Provider(ProviderFault::Away) => {
                "The provider cannot be reached at the moment; try again shortly, or sign in another way."
            }
            Self::Provider(ProviderFault::Broken) => {
                "What the provider answers cannot be understood; try again later, or sign in another way."
            }
            Self::Provider(ProviderFault::Refused) => {
                "The provider refuses what this platform asks of it; its operator has to look at it."
            }
            Self::Provider(ProviderFault::CodeRefused) => "The provider knows nothing of this sign-in; begin again.",
            Self::Provider(ProviderFault::WrongIssuer) => {
                "The answer is from another provider than the one that was asked; begin again."
            }
            Self::Provider(ProviderFault::TooLongAgo) => {
                "You have signed in at the provider too long ago to be let in by it; sign in there anew."
            }
            Self::Provider(ProviderFault::IdToken) => {
                "What the provider says of who you are cannot be believed; begin again, or sign in another way."
            }
            Self::EmailUnverified => {
                "The provider does not say that your address is confirmed; confirm it there, and come again."
            }
            Self::SignUpClosed => "There is no account for you here, and this provider's people are not given one.",
            Self::NothingToLink => "There is nothing here to agree to any more; sign in at the provider again.",
            Self::IdentityTaken => "Whoever signs in so at the provider has another account here already.",
            Self::LastWayIn => "Choose a password first: without this there would be no way into the account.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_says_is_told_apart_by_who_can_mend_it() {
        for (said, code) in [
            ("access_denied", "provider_denied"),
            ("login_required", "provider_denied"),
            ("server_error", "provider_unavailable"),
            ("temporarily_unavailable", "provider_unavailable"),
            ("invalid_scope", "provider_refused"),
            ("unauthorized_client", "provider_refused"),
            ("<script>", "provider_refused"),
        ] {
            assert_eq!(OauthFault::said(said).face().1, code, "{said}");
        }
    }
}
