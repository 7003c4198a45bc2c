//! `portcullis serve`: the gateway, from the first start to the last request.

use super::{block_on, read_config, say, say_error};
use crate::{
    build,
    cli::{Failure, Serve},
    logging,
    serving::Stop,
};

pub(crate) fn run(serve: &Serve) -> Result<(), Failure> {
    let mut config = read_config(&serve.place)?;
    if let Some(listen) = serve.listen {
        config.settings.listen.http = listen;
    }
    logging::start(&config.settings.log);
    block_on(config.settings.server.worker_threads, async {
        let place = &serve.place;
        let running = Box::pin(build(place.folder.open(), config, &place.data, serve.take_over)).await?;
        if running.needs_administrator() {
            say_error("portcullis: nobody administers yet; make the first administrator with");
            say_error(&format!(
                "    portcullis create-admin --email you@example.com --data {}",
                super::shown(&serve.place.data)
            ));
        }
        let stop = Stop::listen().map_err(anyhow::Error::from)?;
        say(&running.ready_line());
        running.serve(stop).await;
        Ok(())
    })
}
