//! A closed loop of requests, and a line of JSON about it: see [`bench::load`].

use std::{
    io::Write as _,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
};

use anyhow::Context as _;
use bench::load::{Plan, run};
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
    /// A file of header lines, of which request i carries line i modulo their number.
    #[arg(long)]
    headers: Option<PathBuf>,
    /// The status that counts as success.
    #[arg(long, default_value_t = 200)]
    expect: u16,
}

fn main() -> anyhow::Result<()> {
    let Args { target, path, paths, connections, threads, rate, requests, headers, expect } = Args::parse();
    let headers = match headers {
        Some(file) => std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?,
        None => String::new(),
    };
    let headers = headers.lines().map(str::to_owned).collect();
    let report = run(Plan { target, path, paths, connections, threads, rate, requests, headers, expect })?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?).context("stdout is gone")
}
