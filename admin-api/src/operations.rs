//! Which operation a request asks for, by the name that it has in the API's document; a page's is that of the endpoint which does the same.

use std::collections::HashMap;

use axum::{
    extract::MatchedPath,
    http::{Extensions, Method},
};
use utoipa::openapi::{OpenApi, PathItem};

use crate::pages;

/// The operations that there are, by method and path.
pub(crate) struct Operations(HashMap<(Method, String), String>);

// === impl Operations ===

impl Operations {
    pub(crate) fn of(document: &OpenApi) -> Self {
        let operations = document.paths.paths.iter().flat_map(|(path, item)| {
            let PathItem { get, put, post, delete, patch, .. } = item;
            let methods = [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH];
            methods.into_iter().zip([get, put, post, delete, patch]).filter_map(|(method, operation)| {
                Some(((method, path.clone()), operation.as_ref()?.operation_id.clone()?))
            })
        });
        let pages = pages::OPERATIONS.map(|(path, operation)| ((Method::POST, path.to_owned()), operation.to_owned()));
        Self(operations.chain(pages).collect())
    }

    /// What is asked for by that method where the router has sent a request.
    pub(crate) fn asked(&self, method: &Method, sent: &Extensions) -> Option<&str> {
        let path = sent.get::<MatchedPath>()?;
        self.0.get(&(method.clone(), path.as_str().to_owned())).map(String::as_str)
    }
}
