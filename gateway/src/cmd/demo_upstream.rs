//! `portcullis demo-upstream`: answers as JSON with what it received, so that people and tests see what the door sends on.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Context;
use axum::{
    Json, Router,
    body::Bytes,
    extract::DefaultBodyLimit,
    http::{HeaderMap, Method, Uri},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{block_on, say};
use crate::{cli::Failure, serving::Stop};

pub(crate) fn run(listen: SocketAddr) -> Result<(), Failure> {
    block_on(1, async {
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| Failure::Unavailable(format!("cannot listen on {listen}: {error}")))?;
        let address = listener.local_addr().context("the listener has no address")?;
        let mut stop = Stop::listen().context("signals cannot be heard")?;
        say(&json!({ "ready": true, "http": format!("http://{address}") }).to_string());
        axum::serve(listener, router())
            .with_graceful_shutdown(async move { stop.told().await })
            .await
            .context("the server failed")?;
        Ok(())
    })
}

/// The echo service by itself. How large a body may be is the door's to say.
fn router() -> Router {
    Router::new().fallback(echo).layer(DefaultBodyLimit::disable())
}

async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Json<Value> {
    let mut named: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in &headers {
        named.entry(name.as_str()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    Json(json!({
        "method": method.as_str(),
        "path": uri.path(),
        "query": uri.query().unwrap_or_default(),
        "headers": named,
        "body": String::from_utf8_lossy(&body),
    }))
}
