//! The script in a real Redis, beside the law that it has to obey.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use policies::lease::{Back, Ledger};
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection};

use super::*;

/// A connection to the Redis that `scripts/with-services` has started.
async fn redis() -> MultiplexedConnection {
    let url = std::env::var("PORTCULLIS_TEST_REDIS").expect("a Redis to test with: run through `make test`");
    // However busy the machine is.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    Client::open(url).unwrap().get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// An ask as any node might put it, honest or not.
fn ask(random: &mut fastrand::Rng, granted: &[Answer]) -> Ask {
    let back = granted.get(random.usize(..=granted.len())).filter(|_| random.u8(..3) == 0);
    let few = |random: &mut fastrand::Rng| if random.bool() { 0 } else { random.u32(..40) };
    Ask {
        need: few(random),
        ahead: few(random),
        held: few(random),
        debt: if random.u8(..4) == 0 { random.u32(..40) } else { 0 },
        back: back.map(|Answer { epoch, slice, granted, .. }| Back {
            epoch: *epoch,
            slice: *slice,
            units: random.u32(..=*granted + 1),
        }),
    }
}

async fn forget(line: &mut MultiplexedConnection, Place { tag, name }: &Place) {
    let keys = [format!("script:{{{tag}}}:{name}"), format!("script:{{{tag}}}:mark")];
    redis::cmd("DEL").arg(&keys).query_async::<()>(line).await.unwrap();
}

#[tokio::test]
async fn the_script_answers_as_the_ledger_does() {
    let mut line = redis().await;
    let script = Script::new(&format!("local now = tonumber(ARGV[13])\n{LEASES}"));
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let window = Duration::from_secs(random.u64(10..4000));
        let mut units = random.u32(1..400);
        let (place, mut ledger) = (Place::of(seed, 'p', [7; 16]), Ledger::default());
        // As many digits as the time of Redis has.
        let (mut now, mut granted) = (1_800_000_000_000_000 + random.u64(..1_000_000), Vec::new());
        for step in 0..80 {
            let terms = Terms::of(Quota { units, window });
            let (ask, node, fresh) = (ask(&mut random, &granted), random.u64(..3), random.u64(..));
            let mut question = with_lease(question(&script, "script", &place, node, fresh), terms, &ask);
            let said = read(question.arg(now).invoke_async(&mut line).await.unwrap());
            let law = ledger.answer(terms, node, fresh, now, &ask);
            assert_eq!(said, law, "seed {seed}, step {step}: {ask:?} at {now}");
            granted.extend((said.granted > 0).then_some(said));
            now += match random.u8(..8) {
                0 => terms.slice() + terms.keep(),
                1 => said.wait.max(said.absent),
                2 => (said.wait.max(said.absent)).saturating_sub(1),
                3 => random.u64(..terms.window),
                _ => random.u64(..terms.slice()),
            };
            match random.u8(..60) {
                0 => units = random.u32(1..400),
                1 => now -= random.u64(..terms.window),
                2 => {
                    forget(&mut line, &place).await;
                    ledger = Ledger::default();
                }
                _ => {}
            }
        }
        forget(&mut line, &place).await;
    }
}

#[tokio::test]
async fn the_script_for_slots_answers_as_the_ledger_does() {
    let mut line = redis().await;
    let script = Script::new(&format!("local now = tonumber(ARGV[11])\n{SLOTS}"));
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let most = random.u32(1..60);
        // Another tag than that of the test above, whose mark comes and goes.
        let (place, mut ledger) = (Place::of(seed, 's', [8; 16]), slots::Ledger::default());
        let mut now = 1_800_000_000_000_000 + random.u64(..1_000_000);
        for step in 0..80 {
            let (held, number) = (random.u32(..8), now - random.u64(..4) * 1000);
            let ask =
                slots::Ask { number, held, spare: random.u32(..=held), need: random.u32(..4), more: random.u32(..4) };
            let node = random.u64(..3);
            let mut question = with_slots(question(&script, "script", &place, node, 1), most, &ask);
            let said = read_slots(question.arg(now).invoke_async(&mut line).await.unwrap());
            assert_eq!(said, ledger.answer(most, node, now, &ask), "seed {seed}, step {step}: {ask:?} at {now}");
            now += match random.u8(..8) {
                0 => said.absent,
                1 => said.absent.saturating_sub(1),
                2 => slots::keep(),
                3 => slots::keep() - 1,
                _ => random.u64(..3000),
            };
            if random.u8(..60) == 0 {
                forget(&mut line, &place).await;
                ledger = slots::Ledger::default();
            }
        }
        forget(&mut line, &place).await;
    }
}

#[test]
fn a_callers_keys_share_a_tag_and_tags_are_many() {
    let tags: std::collections::HashSet<_> = (0..10_000_u128)
        .map(|n| {
            let of = |limit| Place::of(limit, 'p', ((n << 64) | (n * 0x9e37_79b9)).to_be_bytes());
            assert_eq!(of(1).tag, of(2).tag);
            assert_ne!(of(1).name, of(2).name);
            of(1).tag
        })
        .collect();
    assert_eq!(tags.len(), usize::from(TAGS));
}
