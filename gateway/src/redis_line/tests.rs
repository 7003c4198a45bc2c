//! What is made of a server's words about itself. The servers are real ones in `tests/door/redis_shapes.rs`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

#[test]
fn a_tag_has_the_slot_that_a_cluster_gives_it() {
    // The check value of CRC-16/XMODEM, and what `CLUSTER KEYSLOT` of Redis 7 answers.
    assert_eq!(slot("123456789"), 0x31c3);
    assert_eq!((slot("0"), slot("7"), slot("254")), (13907, 1716, 10098));
}

#[test]
fn who_is_no_redis_or_too_old_or_of_another_shape_is_told_so() {
    let said = |version: &str, mode: &str, is_cluster| {
        fits(&format!("# Server\r\nredis_version:{version}\r\nredis_mode:{mode}\r\nrun_id:f00\r\n"), is_cluster)
    };
    assert_eq!(said("5.0.0", "standalone", false), Ok("f00".to_owned()));
    assert_eq!(said("7.0.15", "cluster", true), Ok("f00".to_owned()));
    insta::assert_snapshot!(said("4.0.14", "standalone", false).unwrap_err(), @"Redis 4.0.14 is too old: 5.0 is the first that can count for others");
    insta::assert_snapshot!(said("7.0.15", "sentinel", false).unwrap_err(), @"this is a Sentinel: name it under `sentinels`");
    insta::assert_snapshot!(said("7.0.15", "cluster", false).unwrap_err(), @"this is a node of a Redis Cluster: say `cluster = true`");
    insta::assert_snapshot!(said("7.0.15", "standalone", true).unwrap_err(), @"this is no node of a Redis Cluster, though `cluster = true`");
    insta::assert_snapshot!(fits("VERSION 1.6.18", false).unwrap_err(), @"what answers is no Redis: it tells no version");
}

#[test]
fn a_node_that_does_not_know_its_address_is_where_it_was_asked() {
    let row = |host: Value| vec![vec![Value::Int(0), Value::Int(9), Value::Array(vec![host, Value::Int(7000)])]];
    let asked = ConnectionAddr::Tcp("asked".to_owned(), 1);
    let at = |host| ranges(&row(host), &asked).map(|ranges| ranges[0].at.to_string());
    assert_eq!(at(Value::BulkString(b"10.0.0.1".to_vec())), Ok("10.0.0.1:7000".to_owned()));
    assert_eq!(at(Value::BulkString(Vec::new())), Ok("asked:7000".to_owned()));
    assert_eq!(at(Value::Nil), Ok("asked:7000".to_owned()));
    assert!(ranges(&[vec![Value::Okay]], &asked).is_err());
}
