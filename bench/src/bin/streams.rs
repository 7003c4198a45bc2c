//! Event streams, played or watched: see [`bench::streams`].

use std::{io::Write as _, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use bench::streams::{Plan, Script, run, serve};
use clap::{Args, Parser};

/// Plays event streams to whoever asks, or opens many and prints what came of them.
#[derive(Parser)]
enum Command {
    /// Answers every request with a stream of events.
    Play(Play),
    /// Opens streams, reads each to its end and prints a line of JSON about them.
    Watch(Watch),
}

#[derive(Args)]
struct Play {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Events of a stream.
    #[arg(long, default_value_t = 1000)]
    chunks: usize,
    /// Milliseconds from one event to the next.
    #[arg(long, default_value_t = 20)]
    pace_ms: u64,
}

#[derive(Args)]
struct Watch {
    /// The server.
    #[arg(long)]
    target: SocketAddr,
    /// What to ask for.
    #[arg(long, default_value = "/")]
    path: String,
    /// Streams in all.
    #[arg(long)]
    streams: usize,
    /// Streams open at a time.
    #[arg(long, default_value_t = 500)]
    at_once: usize,
    /// Events that each stream must bring.
    #[arg(long, default_value_t = 1000)]
    chunks: usize,
    /// Milliseconds over which the first streams are opened.
    #[arg(long, default_value_t = 5000)]
    spread_ms: u64,
    /// A file of header lines, of which stream i carries line i modulo their number.
    #[arg(long)]
    headers: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Play(play) => play.run(),
        Command::Watch(watch) => watch.run(),
    }
}

impl Play {
    fn run(self) -> anyhow::Result<()> {
        let script = Script { chunks: self.chunks, pace: Duration::from_millis(self.pace_ms) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = bench::process::listen(self.listen)?;
            bench::process::announce(listener.local_addr()?)?;
            serve(listener, script, bench::process::told_to_stop()?).await?;
            Ok(())
        })
    }
}

impl Watch {
    fn run(self) -> anyhow::Result<()> {
        let Self { target, path, streams, at_once, chunks, spread_ms, headers } = self;
        let headers = match headers {
            Some(file) => std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?,
            None => String::new(),
        };
        let headers = headers.lines().map(str::to_owned).collect();
        let spread = Duration::from_millis(spread_ms);
        let report = run(Plan { target, path, streams, at_once, chunks, spread, headers })?;
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?).context("stdout is gone")
    }
}
