//! The binary `portcullis`: reads the command line, sets up logging and cryptography, and runs one command.

use std::process::ExitCode;

use clap::Parser;
use gateway::cli::{Cli, run};

// The bare proxy that bench/ compares with uses it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Huge pages round up to 2 MiB whatever is in use: 12 of 42 MB when idle, and no less work that could be measured
    // (docs/performance.md). Where the kernel knows none there is nothing to switch off.
    rustix::thread::disable_transparent_huge_pages(true).ok();
    let cli = Cli::parse();
    // Before anything touches TLS: Pingora would install another provider if nobody was first (DEPENDENCIES §1.3).
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
