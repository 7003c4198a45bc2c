//! Logs for operators: JSON lines on standard error, Pingora's own among them. The access log is [`crate::record`]'s.

use std::{
    fs::OpenOptions,
    io::{self, Write},
};

use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt};

use crate::{
    cli::Failure,
    config::{AccessLog, Log},
};

/// Starts the log. `RUST_LOG` replaces the configured level, and what keeps the libraries quiet with it. A second start in one process changes
/// nothing.
pub(crate) fn start(log: &Log) {
    // Pingora tells of each refused or broken connection, and h2 of each frame that it finds odd, with its bytes: a line for seventeen bytes of
    // whoever likes. That is the access log's and the metrics' to count. Of a passkey that it cannot read webauthn_rs_core writes out all bytes as an
    // error, nearly four times as long; whose it was, the trail says. A name here stands for all that begin with it.
    let quiet = format!("{},pingora_core=off,pingora_proxy=off,h2=off,webauthn_rs=off,sqlx=warn", log.level);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet));
    let subscriber = fmt().json().flatten_event(true).with_env_filter(filter).with_writer(io::stderr).finish();
    // Also bridges the `log` crate, which Pingora uses.
    drop(subscriber.try_init());
}

/// Where access events go.
pub(crate) fn access_sink(access: &AccessLog) -> Result<Option<Box<dyn Write + Send>>, Failure> {
    Ok(match access {
        AccessLog::Off => None,
        AccessLog::Stderr => Some(Box::new(io::stderr())),
        AccessLog::Stdout => Some(Box::new(io::stdout())),
        AccessLog::File(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.map_err(|error| {
                let path = path.display();
                Failure::Config(vec![format!("gateway.toml: [log]: access = \"{path}\" cannot be opened: {error}")])
            });
            Some(Box::new(file?))
        }
    })
}
