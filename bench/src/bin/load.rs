//! A closed loop of requests, and a line of JSON about it: see [`bench::load`].

use std::{
    io::{BufRead as _, Write as _},
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
};

use anyhow::{Context as _, ensure};
use bench::load::{Plan, run_in_turns};
use clap::Parser;

/// Sends requests over keep-alive connections and prints what came of it, as one line of JSON.
#[derive(Parser)]
struct Args {
    /// The server.
    #[arg(long)]
    target: SocketAddr,
    /// What to ask for; `{}` in it stands for the request's number modulo --paths.
    #[arg(long, default_value = "/")]
    path: String,
    /// How many paths `{}` makes.
    #[arg(long, default_value = "1")]
    paths: NonZeroUsize,
    /// Connections kept open.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Threads that the connections are spread over.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Requests due in a second, on a schedule; left out: each connection sends as soon as it is answered.
    #[arg(long)]
    rate: Option<NonZeroU32>,
    /// Requests in all.
    #[arg(long)]
    requests: usize,
    /// Send them in so many turns: before each wait for a line on stdin, and after each but the last print an empty one.
    #[arg(long, conflicts_with = "rate")]
    turns: Option<NonZeroUsize>,
    /// A file of header lines, of which request i carries line i modulo their number.
    #[arg(long)]
    headers: Option<PathBuf>,
    /// The status that counts as success.
    #[arg(long, default_value_t = 200)]
    expect: u16,
}

fn main() -> anyhow::Result<()> {
    let Args { target, path, paths, connections, threads, rate, requests, turns, headers, expect } = Args::parse();
    let headers = match headers {
        Some(file) => std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?,
        None => String::new(),
    };
    let headers = headers.lines().map(str::to_owned).collect();
    let (mut first, told_when) = (true, turns.is_some());
    let pause = || {
        if told_when {
            wait_for_a_line(std::mem::take(&mut first))?;
        }
        Ok(())
    };
    let turns = turns.unwrap_or(NonZeroUsize::MIN);
    let plan = Plan { target, path, paths, connections, threads, rate, requests, turns, headers, expect };
    let report = run_in_turns(plan, pause)?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?).context("stdout is gone")
}

/// Says that a turn is over, if there was one, and waits until it is told to begin the next.
fn wait_for_a_line(first: bool) -> anyhow::Result<()> {
    if !first {
        writeln!(std::io::stdout()).context("stdout is gone")?;
    }
    let mut line = String::new();
    ensure!(std::io::stdin().lock().read_line(&mut line)? > 0, "stdin ended before the last turn");
    Ok(())
}
