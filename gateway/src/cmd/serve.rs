//! `portcullis serve`: the gateway, from the first start to the last request.

use super::{block_on, read_config, say, say_error};
use crate::{
    build,
    cli::{Failure, Serve},
    config::{ConfigFolder, Listen},
    logging,
    serving::{Stop, must_hold},
};

pub(crate) fn run(serve: &Serve) -> Result<(), Failure> {
    let mut config = read_config(&serve.place)?;
    if let Some(listen) = serve.listen {
        config.settings.listen.http = listen;
        config.settings.listen.by_command = true;
    }
    refuse_open_dev_headers(&config.settings.listen)?;
    must_hold(&config)?;
    let dev_headers = config.settings.listen.dev_headers;
    logging::start(&config.settings.log);
    block_on(config.settings.server.worker_threads, async {
        let (mut stop, place) = (Stop::listen().map_err(anyhow::Error::from)?, &serve.place);
        let running = tokio::select! {
            running = Box::pin(build(place.folder.open(), config, &place.data, serve.take_over)) => running?,
            () = stop.told() => {
                tracing::info!("told to stop before anybody was served");
                // What keeps a thread waiting, as another process' lock or a name that is looked up, is not waited for.
                std::process::exit(0);
            }
        };
        if running.needs_administrator() {
            // With another configuration it would be another database.
            let config = match serve.place.folder.open() {
                ConfigFolder::Embedded => String::new(),
                ConfigFolder::Path(folder) => format!(" --config {}", super::shown(&folder)),
            };
            say_error("portcullis: nobody administers yet; make the first administrator, or print a new link, with");
            say_error(&format!(
                "    portcullis create-admin --email you@example.com{config} --data {}",
                super::shown(&serve.place.data)
            ));
        }
        if dev_headers {
            say_error(
                "portcullis: WARNING: dev_headers are on. Whoever can send a request to this machine's loopback address is",
            );
            say_error("    whoever X-User-Email says, without any proof. They are for development alone.");
        }
        say(&running.ready_line());
        running.serve(stop).await;
        Ok(())
    })
}

/// The configuration has been asked already; the command line may name another listener.
fn refuse_open_dev_headers(listen: &Listen) -> Result<(), Failure> {
    if !listen.dev_headers || listen.http.ip().is_loopback() {
        return Ok(());
    }
    let message = format!("--listen {}: dev_headers are for listeners on 127.0.0.1 and [::1] alone", listen.http);
    Err(Failure::Surroundings(message))
}
