//! Logging in at somebody else's (OAuth 2, `OpenID` Connect), and whose account that is here.
//!
//! ```text
//! oauth_start ──► flow.rs: state, nonce, verifier ──► the provider's page ──► oauth_callback ──► flow.rs ──► a session
//!                                                                                                   └──► link.rs: the owner agrees, or not
//! ```
//!
//! Here nothing goes over the network: what a provider is asked and how its word is checked is [`Providers`]', which the process that
//! runs us brings. A subject nobody knows gets an account of its own, or becomes somebody's whose owner has signed in here and agreed
//! on a page: that two addresses are alike is no reason to let one in to the other's account.

mod fault;
mod flow;
mod link;
mod provider;

pub use self::provider::{Answered, Asked, Identified, Provider, ProviderFault, Providers};
pub(crate) use self::{
    fault::OauthFault,
    flow::{Answer, Beginning, begin, come_back},
    link::{LINK_PAGE, Pending, allow, has_pending, link, pending, unlink},
    provider::NoProviders,
};
