//! Looking after servers whether or not there are requests: every server of a pool at once, every interval, give or take a
//! tenth so that many nodes do not ask at the same moment.

use std::{sync::Arc, time::Duration};

use pingora::{Result, connectors::http::Connector, http::RequestHeader, upstreams::peer::HttpPeer};
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinSet,
    time::timeout,
};

use super::{Upstream, resolve::Target, server::Server};
use crate::config::HealthSettings;

/// Makes the checks of one upstream until the task is aborted.
pub(super) async fn look_after(upstream: Arc<Upstream>, settings: HealthSettings) {
    // Of its own, so that a check makes a connection and takes none from requests.
    let connector = settings.path.as_ref().map(|_| Arc::new(Connector::new(None)));
    let settings = Arc::new(settings);
    loop {
        let mut checks = JoinSet::new();
        for server in upstream.servers.load().iter() {
            let (server, settings, connector) = (Arc::clone(server), Arc::clone(&settings), connector.clone());
            let host = upstream.host.clone();
            checks.spawn(async move {
                let good = timeout(settings.timeout, check(&server, &settings, connector.as_deref(), &host)).await;
                (server, good.unwrap_or(false))
            });
        }
        while let Some(checked) = checks.join_next().await {
            if let Ok((server, good)) = checked
                && server.vitals.checked(good, &settings)
            {
                tracing::warn!(
                    upstream = &*upstream.name,
                    server = &*server.name,
                    healthy = good,
                    "a server's health has changed"
                );
                upstream.count_well();
            }
        }
        tokio::time::sleep(settings.interval.mul_f64(fastrand::f64().mul_add(0.2, 0.9))).await;
    }
}

/// Does the server answer?
async fn check(server: &Server, settings: &HealthSettings, connector: Option<&Connector>, host: &str) -> bool {
    match (&settings.path, connector) {
        (Some(path), Some(connector)) => {
            let mut peer = server.peer.clone();
            bound(&mut peer, settings.timeout);
            ask(connector, &peer, path, host).await.unwrap_or(false)
        }
        _ => match &server.target {
            Target::Inet(address) => TcpStream::connect(address).await.is_ok(),
            Target::Unix(path) => UnixStream::connect(path).await.is_ok(),
        },
    }
}

fn bound(peer: &mut HttpPeer, timeout: Duration) {
    let options = &mut peer.options;
    options.total_connection_timeout = Some(timeout);
    options.read_timeout = Some(timeout);
    options.write_timeout = Some(timeout);
    // A connection of HTTP/2 with room for more is kept for others, and would be for ever when its check is given up.
    options.max_h2_streams = 1;
}

/// Over a connection that is closed afterwards: what is checked is also whether one can be made.
async fn ask(connector: &Connector, peer: &HttpPeer, path: &str, host: &str) -> Result<bool> {
    let (mut session, _) = connector.get_http_session(peer).await?;
    let mut request = RequestHeader::build("GET", path.as_bytes(), Some(3))?;
    request.insert_header("host", host)?;
    request.insert_header("user-agent", "portcullis-health")?;
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    Ok(session.response_header().is_some_and(|header| header.status.is_success()))
}
