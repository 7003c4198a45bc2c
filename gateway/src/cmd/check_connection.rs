//! `portcullis check-connection`: what this platform needs of others, and whether it is there. A line each.

use admin_api::MailTransport;

use super::{block_on, read_config, say};
use crate::{
    cli::{Failure, Place},
    config::{Config, SharedRedis},
    foundation,
    redis_line::Way,
};

pub(crate) fn run(place: &Place) -> Result<(), Failure> {
    let config = read_config(place)?;
    block_on(1, async {
        let lines = [
            ("database", Some(database(&config, place).await)),
            ("redis", redis(config.settings.shared.redis.as_ref()).await),
            ("mail", mail(&config.settings.mail.transport).await),
        ];
        let mut missing = Vec::new();
        for (what, outcome) in lines {
            let nothing = if what == "mail" { "into files" } else { "not configured" };
            match outcome {
                None => say(&format!("{what:<10}{nothing}")),
                Some(Ok(())) => say(&format!("{what:<10}ok")),
                Some(Err(why)) => {
                    say(&format!("{what:<10}not to be had: {why}"));
                    missing.push(what);
                }
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Failure::Unavailable(format!("not to be had: {}", missing.join(", "))))
        }
    })
}

/// At once, and not for as long as a start would wait.
async fn database(config: &Config, place: &Place) -> Result<(), String> {
    foundation::must_exist(&config.settings.store, &place.data).map_err(|error| error.to_string())?;
    let (url, pool) = foundation::address(&config.settings.store, &place.data).map_err(|error| error.to_string())?;
    store::Store::connect(&url, pool).await.map(drop).map_err(|error| error.to_string())
}

async fn redis(redis: Option<&SharedRedis>) -> Option<Result<(), String>> {
    let redis = redis?;
    let reached = async { Way::new(redis)?.line().await.map(drop) };
    Some(reached.await)
}

async fn mail(transport: &MailTransport) -> Option<Result<(), String>> {
    match transport {
        MailTransport::File(_) => None,
        MailTransport::Smtp(server) => Some(server.reach().await),
    }
}
