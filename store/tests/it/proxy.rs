//! A stand-in for the network between a node and Postgres: it can go silent or be cut.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinHandle,
};

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Works,
    /// Bytes are lost from now on, on these connections for ever: nobody hears of it.
    Silent,
}

/// Listens in Postgres' place.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<watch::Sender<Network>>,
    listener: JoinHandle<()>,
}

// === impl Proxy ===

impl Proxy {
    pub(crate) async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::channel(Network::Works).0);
        let accepting = tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                // With the listener go the connections.
                let mut connections = tokio::task::JoinSet::new();
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let server = TcpStream::connect(&server).await.unwrap();
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    connections.spawn(carry(from_client, to_server, state.subscribe()));
                    connections.spawn(carry(from_server, to_client, state.subscribe()));
                }
            }
        });
        Self { address, state, listener: accepting }
    }

    pub(crate) fn set(&self, network: Network) {
        self.state.send_replace(network);
    }

    /// Connections break and new ones are refused, as when the server is stopped.
    pub(crate) async fn stop(self) {
        self.listener.abort();
        self.listener.await.unwrap_err();
    }
}

/// Carries bytes one way until either end closes. Once silent, silent for ever: the connection is neither used nor closed.
async fn carry(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut network: watch::Receiver<Network>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            biased;
            () = silence(&mut network) => return std::future::pending().await,
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(count) => if to.write_all(&buffer[..count]).await.is_err() { return },
            },
        }
    }
}

async fn silence(network: &mut watch::Receiver<Network>) {
    // An error means that the proxy is gone, and its connections with it.
    drop(network.wait_for(|network| *network == Network::Silent).await);
}
