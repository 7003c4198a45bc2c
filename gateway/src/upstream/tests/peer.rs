//! The connections that requests share.

use pingora::upstreams::peer::Peer;

use super::*;

#[tokio::test]
async fn whoever_waits_in_vain_gives_up_the_connections_of_http_2_that_others_would_share() {
    for (protocol, are_shared) in [(Protocol::Http2, true), (Protocol::Negotiated, true), (Protocol::Http1, false)] {
        let pool = made(&UpstreamSettings { protocol, ..settings(1) }, None).await;
        let pick = || pool.pick(&permit(), IpAddr::V4(Ipv4Addr::LOCALHOST), &mut tries()).unwrap();
        let shared = || {
            let mut attempt = pick().1;
            attempt.is_connected(true, true);
            attempt
        };
        let key = || pick().0.reuse_hash();
        let first = key();
        for failure in [Failure::Connect, Failure::Closed, Failure::Invalid] {
            shared().failed(failure);
        }
        // Who could not connect has waited on none of them.
        pick().1.failed(Failure::Timeout);
        assert_eq!(key(), first);
        let waiting: Vec<Attempt> = (0..3).map(|_| shared()).collect();
        let mut waiting = waiting.into_iter();
        waiting.next().unwrap().failed(Failure::Timeout);
        let second = key();
        assert_eq!(second != first, are_shared, "{protocol:?}");
        // The others waited on the connections that have been given up.
        waiting.for_each(|mut attempt| attempt.failed(Failure::Timeout));
        assert_eq!(key(), second);
        shared().failed(Failure::Timeout);
        assert_eq!(key() != second, are_shared, "{protocol:?}");
    }
}
