//! A proxy that decides nothing: see [`bench::bare`].

use std::{net::SocketAddr, path::PathBuf};

use bench::bare::Downstream;
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Forwards every request to one upstream.
#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where every request goes.
    #[arg(long)]
    upstream: SocketAddr,
    /// Threads that serve requests.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Take HTTP/2 by prior knowledge too.
    #[arg(long)]
    h2c: bool,
    /// A PEM file of the certificate to show: TLS, with HTTP/1.1 or HTTP/2.
    #[arg(long, requires = "key", conflicts_with = "h2c")]
    certificate: Option<PathBuf>,
    /// A PEM file of its key.
    #[arg(long)]
    key: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let Args { listen, upstream, threads, h2c, certificate, key } = Args::parse();
    let tls = certificate.zip(key).map(|(certificate, key)| Downstream::Tls(certificate, key));
    let downstream = tls.unwrap_or(Downstream::Clear { h2c });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let listener = bench::process::listen(listen)?;
        bench::process::announce(listener.local_addr()?)?;
        let stop = bench::process::told_to_stop()?;
        // A task of the workers, where the gateway's service runs too.
        tokio::spawn(bench::bare::serve(listener, downstream, upstream, stop)).await?
    })
}
