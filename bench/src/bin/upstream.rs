//! An upstream that answers `ok`: see [`bench::upstream`].

use std::net::SocketAddr;

use clap::Parser;

/// Answers every request with the same few bytes.
#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let listener = bench::process::listen(Args::parse().listen)?;
    bench::process::announce(listener.local_addr()?)?;
    bench::upstream::serve(listener, bench::process::told_to_stop()?).await?;
    Ok(())
}
