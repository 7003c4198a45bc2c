//! Which page of a list is asked for, by `cursor` and `limit`, and where the next one is: a list that is a plain array tells it by `Link`
//! (RFC 8288).

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, Uri, header},
};
use identity::AccountId;
use serde::Serialize;
use store::{Cursor, Page};

use crate::{error::ApiError, query::Parameters};

/// Items on a page when nobody says how many, and at most.
pub(crate) const LIMIT: u32 = 50;
pub(crate) const MAX_LIMIT: u32 = 200;

/// Which page.
pub(crate) struct Paging {
    pub(crate) after: Option<Cursor>,
    pub(crate) limit: u32,
}

/// A page as a plain array, and where the next one is.
pub(crate) type Linked<T> = (HeaderMap, Json<Vec<T>>);

// === impl Paging ===

impl Paging {
    /// Of a list that has no filters.
    pub(crate) fn read(uri: &Uri) -> Result<Self, ApiError> {
        Self::read_with(uri, &[]).map(|(paging, _)| paging)
    }

    /// Of a list that was whole before it had pages: whoever asks for none of them gets as much of it as one may have.
    pub(crate) fn read_of_whole(uri: &Uri) -> Result<Self, ApiError> {
        Self::read_by(uri, &[], MAX_LIMIT).map(|(paging, _)| paging)
    }

    /// Of everybody's, or of one account's: `account_id`.
    pub(crate) fn read_of_account(uri: &Uri) -> Result<(Self, Option<AccountId>), ApiError> {
        let (paging, parameters) = Self::read_with(uri, &["account_id"])?;
        Ok((paging, parameters.id("account_id")?))
    }

    /// Of a list that can be asked by `filters`, which are among the parameters.
    pub(crate) fn read_with(uri: &Uri, filters: &[&str]) -> Result<(Self, Parameters), ApiError> {
        Self::read_by(uri, filters, LIMIT)
    }

    fn read_by(uri: &Uri, filters: &[&str], by_default: u32) -> Result<(Self, Parameters), ApiError> {
        let parameters = Parameters::read(uri, &[&["cursor", "limit"], filters].concat())?;
        let within = |text: &str| text.parse::<u32>().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        let after = parameters.get("cursor", |text| text.parse().ok(), "must be a cursor of ours")?;
        let limit = parameters.get("limit", within, "must be a number between 1 and 200")?;
        Ok((Self { after, limit: limit.unwrap_or(by_default) }, parameters))
    }
}

/// The page for whoever asked for it at `uri`.
pub(crate) fn linked<T, V>(uri: &Uri, page: Page<T>) -> Linked<V>
where
    V: From<T> + Serialize,
{
    let next = page.next.and_then(|next| next_link(uri, &next.to_string()));
    let headers = next.into_iter().map(|next| (header::LINK, next)).collect();
    (headers, Json(page.items.into_iter().map(V::from).collect()))
}

/// The same question, of what follows.
pub(crate) fn next_link(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    let kept =
        uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let query = kept.chain([format!("cursor={cursor}").as_str()]).collect::<Vec<_>>().join("&");
    // A URI is visible ASCII, and so is the rest.
    HeaderValue::try_from(format!("<{}?{query}>; rel=\"next\"", uri.path())).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<(u32, bool), ApiError> {
        let uri: Uri = format!("/things?{query}").parse().unwrap();
        let (paging, parameters) = Paging::read_with(&uri, &["mine", "tenant_id"])?;
        parameters.id::<identity::TenantId>("tenant_id")?;
        Ok((paging.limit, parameters.flag("mine")?))
    }

    #[test]
    fn what_is_wanted_is_said_once_and_in_words_that_we_know() {
        assert_eq!(read("").unwrap(), (50, false));
        assert_eq!(read("limit=200&mine=true").unwrap(), (200, true));
        assert_eq!(read("tenant_id=0190a5a0-0000-7000-8000-000000000001&mine=false").unwrap(), (50, false));
        for bad in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "cursor=x",
            "mine=1",
            "other=1",
            "tenant_id=1",
            "limit=1&limit=1",
            "mine=true&mine=true",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_next_page_is_of_the_same_question() {
        let next = |uri: &str| next_link(&uri.parse().unwrap(), "7").unwrap();
        assert_eq!(next("/things"), "</things?cursor=7>; rel=\"next\"");
        assert_eq!(next("/things?cursor=6&limit=2"), "</things?limit=2&cursor=7>; rel=\"next\"");
    }
}
