//! A Redis that says nothing any more, or too late: how long whoever meets it waits, and what is told afterwards of units that were lost by
//! it, or were too many.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use parking_lot::Condvar;

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);
/// Far more than anybody waits, and far less than for ever: a busy machine is slow.
const BOUNDED: Duration = Duration::from_secs(2);

/// A way to Redis on which nothing passes while it is frozen, and nothing is lost.
struct Channel {
    url: String,
    frozen: Arc<Frost>,
    /// Milliseconds, there and back each.
    takes: Arc<AtomicU64>,
}

/// Is it frozen, and who waits until it is not?
#[derive(Default)]
struct Frost(Mutex<bool>, Condvar);

// === impl Channel ===

impl Channel {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let (frozen, takes) = <(Arc<Frost>, Arc<AtomicU64>)>::default();
        let (is_frozen, time) = (Arc::clone(&frozen), Arc::clone(&takes));
        thread::spawn(move || {
            for client in listener.incoming() {
                let redis = TcpStream::connect(redis_url().strip_prefix("redis://").unwrap()).unwrap();
                let client = client.unwrap();
                for (from, to) in [(&client, &redis), (&redis, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (frozen, takes) = (Arc::clone(&is_frozen), Arc::clone(&time));
                    to.set_nodelay(true).unwrap();
                    thread::spawn(move || pass(from, to, &frozen, &takes));
                }
            }
        });
        Self { url, frozen, takes }
    }

    fn freeze(&self) {
        *self.frozen.0.lock() = true;
    }

    fn thaw(&self) {
        *self.frozen.0.lock() = false;
        self.frozen.1.notify_all();
    }

    fn takes(&self, milliseconds: u64) {
        self.takes.store(milliseconds, Ordering::SeqCst);
    }
}

#[expect(clippy::disallowed_methods, reason = "a network that takes its time")]
fn pass(mut from: TcpStream, mut to: TcpStream, frozen: &Frost, takes: &AtomicU64) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        thread::sleep(Duration::from_millis(takes.load(Ordering::SeqCst)));
        frozen.1.wait_while(&mut frozen.0.lock(), |is_frozen| *is_frozen);
        if to.write_all(&piece[..read]).is_err() {
            return;
        }
    }
}

/// Moves a clock that stands still until it holds, but by no more than two seconds: if it does not, the test will say so.
async fn in_two_seconds(holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::advance(MILLISECOND).await;
    }
}

/// How long a request waits by a clock that stands still while anybody works, and whether it is let in.
async fn waits(limiter: &Limiter, permit: &Permit) -> (Duration, bool) {
    let began = tokio::time::Instant::now();
    let is_let_in = spend(limiter, permit, HOME).await.is_ok();
    (began.elapsed(), is_let_in)
}

#[tokio::test]
async fn who_meets_a_frozen_redis_first_waits_for_20_ms_in_all_and_nobody_after_that() {
    let [hourly, daily] = ["40/hour", "90/day"].map(|text| (Per::Ip, Kind::Requests(quota(text))));
    let slots = (Per::Ip, Kind::Concurrent(40));
    for outage in [Outage::Refuse, Outage::Local { nodes: 2 }] {
        for limits in [&[hourly][..], &[slots], &[slots, hourly, daily]] {
            let channel = Channel::open();
            let (limiter, metrics) = sharing_by(&channel.url, &new_prefix(), outage).await;
            let permit = permit(limits);
            channel.freeze();
            tokio::time::pause();
            let (waited, is_let_in) = waits(&limiter, &permit).await;
            assert!((20..=21).contains(&waited.as_millis()), "{outage:?} {limits:?}: {waited:?}");
            assert_eq!(is_let_in, outage != Outage::Refuse, "{outage:?} {limits:?}");
            // The errand is given up in the same moment.
            in_two_seconds(|| metrics.away.get() == 1).await;
            assert_eq!(waits(&limiter, &permit).await, (Duration::ZERO, is_let_in), "{outage:?} {limits:?}");
            tokio::time::resume();
        }
    }
}

#[tokio::test]
async fn a_redis_that_is_slower_than_anybody_waits_counts_as_away_and_one_that_is_not_is_waited_for() {
    let (channel, permit) = (Channel::open(), permit(&[(Per::Ip, Kind::Requests(quota("100/hour")))]));
    let (limiter, metrics) = sharing_by(&channel.url, &new_prefix(), Outage::Refuse).await;
    let leases = limiter.leases.as_ref().unwrap();
    channel.takes(30);
    let began = Instant::now();
    assert!(spend(&limiter, &permit, HOME).await.is_err());
    assert!(began.elapsed() < BOUNDED, "{:?}", began.elapsed());
    for _ in 0..50 {
        assert!(spend(&limiter, &permit, HOME).await.is_err());
    }
    assert_eq!(metrics.failed.get(), 1, "who came later has waited");
    leases.connect().await;
    assert!(leases.is_away(), "it answers no sooner than before");
    channel.takes(3);
    // On a busy machine it may be slower than that.
    let waited_for = async {
        while spend(&limiter, &permit, HOME).await.is_err() {
            leases.connect().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited_for).await.expect("it is never waited for");
}

#[tokio::test]
async fn units_that_a_frozen_redis_does_not_take_back_are_counted_as_lost() {
    let channel = Channel::open();
    let permit = permit(&[(Per::Ip, Kind::Requests(quota("1600/hour")))]);
    // The second lease is for more than whoever waits; on a busy machine Redis may be too slow for it, or what is left of it be given back
    // before nothing passes any more.
    let (metrics, held) = loop {
        let (limiter, metrics) = sharing_by(&channel.url, &new_prefix(), Outage::Refuse).await;
        let (began, mut let_in) = (Instant::now(), 0);
        for _ in 0..3 {
            let_in += u64::from(spend(&limiter, &permit, HOME).await.is_ok());
        }
        channel.freeze();
        tokio::time::pause();
        let is_in_time = began.elapsed() < Duration::from_millis(500);
        if is_in_time && metrics.failed.get() == 0 && metrics.leased.get() > let_in {
            let held = metrics.leased.get() - let_in;
            break (metrics, held);
        }
        tokio::time::resume();
        channel.thaw();
    };
    assert_eq!(metrics.lost.get(), 0);
    in_two_seconds(|| metrics.lost.get() == held).await;
    assert_eq!(metrics.lost.get(), held);
}

#[tokio::test]
async fn what_was_let_through_alone_and_was_too_much_is_counted_as_soon_as_redis_hears_of_it() {
    const HALF: Outage = Outage::Local { nodes: 2 };
    let permit = permit(&[(Per::Ip, Kind::Requests(quota("4/hour")))]);
    let let_in = async |limiter: &Limiter| {
        let mut times = 0;
        while spend(limiter, &permit, HOME).await.is_ok() {
            times += 1;
        }
        times
    };
    // On a busy machine Redis may seem to be away to whoever spends the whole.
    let (channel, cut_off, metrics) = loop {
        let (channel, prefix) = (Channel::open(), new_prefix());
        let (limiter, _) = sharing_by(&redis_url(), &prefix, HALF).await;
        let (cut_off, metrics) = sharing_by(&channel.url, &prefix, HALF).await;
        channel.freeze();
        if let_in(&limiter).await == 4 {
            break (channel, cut_off, metrics);
        }
    };
    assert_eq!(let_in(&cut_off).await, 2, "its share");
    assert_eq!((metrics.alone.get(), metrics.overshoot.get()), (2, 0));
    channel.thaw();
    let told = async {
        while metrics.overshoot.get() == 0 {
            cut_off.leases.as_ref().unwrap().connect().await;
            assert!(spend(&cut_off, &permit, HOME).await.is_err());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("it is never told");
    assert_eq!(metrics.overshoot.get(), 2);
}

#[tokio::test]
async fn of_a_limit_below_the_number_of_gateways_each_lets_one_through_by_itself() {
    for limit in [Kind::Concurrent(20), Kind::Requests(quota("20/hour"))] {
        let (channel, permit) = (Channel::open(), permit(&[(Per::Ip, limit)]));
        let (limiter, _) = sharing_by(&channel.url, &new_prefix(), Outage::Local { nodes: 24 }).await;
        channel.freeze();
        let first = spend(&limiter, &permit, HOME).await;
        assert!(first.is_ok(), "{limit:?}: nobody is refused for as long as Redis is away");
        assert!(spend(&limiter, &permit, HOME).await.is_err(), "{limit:?}: its share is no more than that");
    }
}

#[tokio::test]
async fn nothing_is_owed_of_one_limit_for_what_another_refuses() {
    let [day, hour] = ["1000/day", "1/hour"].map(|text| {
        let kind = Kind::Requests(quota(text));
        Limit::new(Owner::Route("r"), Per::Ip, kind)
    });
    let (id, ahead) = (day.id, Limit { max_overshoot: 100, ..day });
    let (channel, permit) = (Channel::open(), permit_under(None, vec![ahead, hour]));
    let (limiter, metrics) = sharing_by(&channel.url, &new_prefix(), Outage::Local { nodes: 1 }).await;
    channel.freeze();
    let mut let_in = 0;
    for _ in 0..50 {
        let_in += u32::from(spend(&limiter, &permit, HOME).await.is_ok());
    }
    assert_eq!(let_in, 1);
    assert!(metrics.ahead.get() > 0 && metrics.alone.get() > 0, "both ways to spend what nobody has lent");
    let (_, told) = limiter.with(Subject::Address(network(HOME)), limiter.epoch.elapsed(), |counts| {
        let leased = counts.find(id).unwrap().leased.as_mut().unwrap();
        leased.hand.ask(Terms::of(quota("1000/day")), limiter.epoch.elapsed(), 0).debt
    });
    assert_eq!(told, 1);
}
