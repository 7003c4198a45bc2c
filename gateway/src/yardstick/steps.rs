//! The steps of DESIGN §2 one by one, each again and again on the same admitted request: where the time of a request goes.

use std::{
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use anyhow::Context as _;
use pingora::http::{RequestHeader, ResponseHeader};
use policies::decide;

use super::Rig;
use crate::{answer, asked, inbound::Inbound, inject, journey::Journey};

impl Rig {
    /// Nanoseconds of each step, the mean of `times` passes.
    ///
    /// # Errors
    /// When the caller is not let in.
    ///
    /// # Panics
    /// When a step does not do what it did the first time.
    pub fn steps(&mut self, times: u32) -> anyhow::Result<Vec<(&'static str, u128)>> {
        let mut journey = self.begin();
        let admitted = self.runtime.block_on(self.door.admit(&self.session, &mut journey));
        anyhow::ensure!(admitted.is_ok(), "the caller is not let in");
        drop(journey.attempt().map_err(|error| anyhow::anyhow!("no server: {error}"))?);
        let (door, session, rules) = (&self.door, &self.session, Arc::clone(&journey.rules));
        let inbound = journey.inbound.as_ref().context("it was read")?;
        let (host, path, client) = (&inbound.host, &inbound.path, inbound.client);
        let asking = inbound.asking(journey.now);
        let route = journey.route.as_ref().context("it was matched")?;
        let known = journey.known.as_ref().context("the caller is known")?;
        let permit = journey.permit.as_ref().context("it was decided")?;
        let request = session.req_header();
        let answered = ResponseHeader::build(200, Some(8))?;
        let mean = |step: &mut dyn FnMut()| {
            let began = Instant::now();
            for _ in 0..times {
                step();
            }
            began.elapsed().as_nanos() / u128::from(times)
        };
        let copied = |request: &RequestHeader| black_box(request.clone());
        let mut steps = vec![
            ("read", mean(&mut || drop(black_box(Inbound::read(session, &rules.read_limits))))),
            ("route", mean(&mut || _ = black_box(rules.policy.routes.find(host, "GET", path)))),
            (
                "verify",
                mean(&mut || {
                    let Ok(Some(shown)) = asked::shown(&request.headers, door.cookies) else { return };
                    let known = pin!(door.directory.authenticate(shown, asking));
                    let known = known.poll(&mut Context::from_waker(Waker::noop()));
                    assert!(matches!(black_box(known), Poll::Ready(Ok(_))), "it is cached");
                }),
            ),
            (
                "decide",
                mean(&mut || drop(black_box(decide(&rules.policy, route, Some(Arc::clone(&known.principal)), 0)))),
            ),
            ("spend", mean(&mut || drop(black_box(door.limiter.spend(permit, client, Some(&known.meters)))))),
        ];
        let copy = mean(&mut || drop(copied(request)));
        let forward = mean(&mut || {
            let mut request = copied(request);
            assert!(inject::rewrite(&mut request, &journey, &door.minter, journey.now).is_ok(), "it can be sent");
            drop(black_box(request));
        });
        steps.push(("forward", forward.saturating_sub(copy)));
        let respond = mean(&mut || {
            let mut answered = answered.clone();
            assert!(answer::check(&mut answered).is_ok(), "it can be passed on");
            answer::dress(&mut answered, None, &journey);
            drop(black_box(answered));
        });
        steps.push(("respond", respond));
        let empty = mean(&mut || drop(self.begin()));
        let recorded = mean(&mut || {
            let mut journey: Journey = self.begin();
            journey.route = Some(Arc::clone(route));
            journey.record(200, 2, door);
        });
        steps.push(("record", recorded.saturating_sub(empty)));
        Ok(steps)
    }
}
