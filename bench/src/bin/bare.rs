//! A proxy that decides nothing: see [`bench::bare`].

use std::net::SocketAddr;

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
}

fn main() -> anyhow::Result<()> {
    let Args { listen, upstream, threads } = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let listener = bench::process::listen(listen)?;
        bench::process::announce(listener.local_addr()?)?;
        let stop = bench::process::told_to_stop()?;
        // A task of the workers, where the gateway's service runs too.
        tokio::spawn(bench::bare::serve(listener, upstream, stop)).await?;
        Ok(())
    })
}
