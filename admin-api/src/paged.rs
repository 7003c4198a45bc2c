//! What the queries of lists say, and how a list that is a plain array tells where it goes on: by `Link` (RFC 8288).

use axum::{
    Json,
    extract::Query,
    http::{HeaderMap, HeaderValue, Uri, header},
};
use identity::TenantId;
use serde::Serialize;
use store::{Cursor, Page};

use crate::{
    error::ApiError,
    paging::{LIMIT, MAX_LIMIT, wrong},
};

/// What part of a list is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) after: Option<Cursor>,
    pub(crate) limit: u32,
    /// The flag that the list knows besides, if it is `true`.
    pub(crate) flag: bool,
    /// Of which tenant, where the list can be asked that.
    pub(crate) tenant: Option<TenantId>,
}

/// A page as a plain array, and where the next one is.
pub(crate) type Linked<T> = (HeaderMap, Json<Vec<T>>);

// === impl Wanted ===

impl Wanted {
    /// A parameter that we do not know or that is given twice is refused: it may be a filter somebody counts on.
    pub(crate) fn read(uri: &Uri) -> Result<Self, ApiError> {
        Self::read_with(uri, None)
    }

    /// The same of a list that can be asked of which tenant it shall be: `tenant_id`.
    pub(crate) fn read_of_tenant(uri: &Uri, flag: &str) -> Result<Self, ApiError> {
        Self::read_with(uri, Some(flag))
    }

    fn read_with(uri: &Uri, flag: Option<&str>) -> Result<Self, ApiError> {
        let (mut after, mut limit, mut flagged, mut tenant) = (None, None, None, None);
        for (name, value) in pairs(uri)? {
            let given_before = match name.as_str() {
                "cursor" => {
                    let cursor = value.parse::<Cursor>();
                    after.replace(cursor.map_err(|_| wrong(&name, "must be a cursor of ours"))?).is_some()
                }
                "limit" => {
                    let value = value.parse().ok().filter(|value| (1..=MAX_LIMIT).contains(value));
                    limit.replace(value.ok_or_else(|| wrong(&name, "must be a number between 1 and 200"))?).is_some()
                }
                "tenant_id" if flag.is_some() => {
                    tenant.replace(value.parse().map_err(|_| wrong(&name, "must be an id"))?).is_some()
                }
                known if Some(known) == flag => flagged.replace(truth(&name, &value)?).is_some(),
                _ => return Err(wrong(&name, "is not a parameter here")),
            };
            if given_before {
                return Err(wrong(&name, "is given twice"));
            }
        }
        Ok(Self { after, limit: limit.unwrap_or(LIMIT), flag: flagged.unwrap_or_default(), tenant })
    }

    /// The page for whoever asked for it at `uri`.
    pub(crate) fn linked<T, V>(&self, uri: &Uri, page: Page<T>) -> Linked<V>
    where
        V: From<T> + Serialize,
    {
        let mut headers = HeaderMap::new();
        if let Some(next) = page.next {
            let link = format!("<{}?cursor={next}&limit={}>; rel=\"next\"", uri.path(), self.limit);
            // A path is visible ASCII, and so is the rest.
            headers.extend(HeaderValue::try_from(link).map(|link| (header::LINK, link)));
        }
        (headers, Json(page.items.into_iter().map(V::from).collect()))
    }
}

/// Whether a query that may say nothing else says `name=true`.
pub(crate) fn flag(uri: &Uri, name: &str) -> Result<bool, ApiError> {
    let mut said = None;
    for (given, value) in pairs(uri)? {
        if given != name {
            return Err(wrong(&given, "is not a parameter here"));
        }
        if said.replace(truth(&given, &value)?).is_some() {
            return Err(wrong(&given, "is given twice"));
        }
    }
    Ok(said.unwrap_or_default())
}

fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, ApiError> {
    let Query(pairs) = Query::try_from_uri(uri).map_err(|_| wrong("", "cannot be decoded"))?;
    Ok(pairs)
}

fn truth(name: &str, value: &str) -> Result<bool, ApiError> {
    value.parse().map_err(|_| wrong(name, "must be true or false"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<(u32, bool), String> {
        let uri: Uri = format!("/things?{query}").parse().unwrap();
        match Wanted::read_of_tenant(&uri, "mine") {
            Ok(wanted) => Ok((wanted.limit, wanted.flag)),
            Err(error) => {
                let told: Vec<_> =
                    error.fields().into_iter().map(|one| format!("{} {}", one.field, one.message)).collect();
                Err(told.concat())
            }
        }
    }

    #[test]
    fn what_is_wanted_is_said_once_and_in_words_that_we_know() {
        assert_eq!(read(""), Ok((50, false)));
        assert_eq!(read("limit=200&mine=true"), Ok((200, true)));
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
        let only = |query: &str| flag(&format!("/x?{query}").parse().unwrap(), "cascade").ok();
        assert_eq!([only(""), only("cascade=true"), only("cascade=false")], [Some(false), Some(true), Some(false)]);
        assert_eq!([only("cascade=yes"), only("limit=1"), only("cascade=true&cascade=true")], [None; 3]);
    }
}
