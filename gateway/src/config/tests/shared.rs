//! A Redis for what gateways share.

use super::*;

#[test]
fn a_redis_needs_a_word_for_its_outage() {
    let redis =
        |more: &str| said("# redis = { env = \"REDIS_URL\" }", &format!("redis = \"redis://127.0.0.1:1\"\n{more}"));
    insta::assert_snapshot!(redis(""), @r#"gateway.toml:118:9: `on_outage` is missing: "local" or "refuse", for requests under limits while this Redis is away"#);
    insta::assert_snapshot!(redis("on_outage = \"local\""), @"gateway.toml:119:13: `nodes` is missing: each gateway lets through its part of so many");
    insta::assert_snapshot!(redis("on_outage = \"local\"\nnodes = 0"), @"gateway.toml:120:9: must be at least 1");
    insta::assert_snapshot!(redis("on_outage = \"open\""), @r#"
    gateway.toml:118:9: `on_outage` is missing: "local" or "refuse", for requests under limits while this Redis is away
    gateway.toml:119:13: unknown value `open`; known are local, refuse
    "#);
    assert_eq!(redis("on_outage = \"refuse\""), "");
    assert_eq!(redis("on_outage = \"local\"\nnodes = 3"), "");
}

#[test]
fn a_redis_of_another_shape_is_told_of_with_what_it_lacks() {
    let one = "# redis = { env = \"REDIS_URL\" }";
    let redis = |text: &str| said(one, &format!("on_outage = \"refuse\"\n{text}"));
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        format!("{{ file = \"{}\" }}", folder.path().join(name).display())
    };
    let one_of_its_own = format!("redis = {}", secret("one", "rediss://user:p,w@host:6379/0"));
    let (master, sentinels) =
        (secret("master", "redis://:secret@master_1/0"), secret("sentinels", "redis://a:26379,rediss://:pw@b:26379"));
    let watched = format!("redis = {master}\nsentinels = {sentinels}");
    for good in [
        one_of_its_own.as_str(),
        &watched,
        "redis = \"redis://a:1,redis://b:2\"\ncluster = true",
        "redis = \"redis://a\"\ncluster = false",
    ] {
        assert_eq!(redis(good), "", "{good}");
    }
    insta::assert_snapshot!(redis("redis = \"http://a\""), @r#"gateway.toml:119:9: a Redis is "redis://user:password@host:6379/0", or "rediss://…" with TLS"#);
    insta::assert_snapshot!(redis("redis = { env = \"NOBODY_SETS_THIS\" }"), @"gateway.toml:119:9: the environment variable NOBODY_SETS_THIS is not set");
    insta::assert_snapshot!(redis("redis = \"redis://a:1,redis://b:2\""), @r#"gateway.toml:119:9: a Redis is "redis://user:password@host:6379/0", or "rediss://…" with TLS"#);
    insta::assert_snapshot!(said(one, "sentinels = \"redis://a:26379\"\nredis_ca = \"ca.pem\"\ncluster = true\non_outage = \"local\"\nnodes = 3"), @r#"
    gateway.toml:118:13: `redis` is missing, which this is about
    gateway.toml:119:12: the file "ca.pem" cannot be read: No such file or directory (os error 2)
    gateway.toml:119:12: `redis` is missing, which this is about
    gateway.toml:120:11: `redis` is missing, which this is about
    gateway.toml:121:13: `redis` is missing, which this is about
    gateway.toml:122:9: `redis` is missing, which this is about
    "#);
    assert_eq!(said(one, "cluster = false"), "");
    insta::assert_snapshot!(redis("redis = \"redis://a\"\nsentinels = \"a:26379\""), @r#"gateway.toml:119:9: a Redis is "redis://user:password@host:6379/0", or "rediss://…" with TLS"#);
    insta::assert_snapshot!(redis("redis = \"unix:/run/redis\"\nsentinels = \"redis://a:26379\""), @r#"gateway.toml:119:9: with Sentinels a Redis is "redis://user:password@name-of-the-master/0""#);
    insta::assert_snapshot!(redis("redis = \"redis://a\"\nsentinels = \"redis://b:26379\"\ncluster = true"), @"gateway.toml:121:11: a Redis Cluster has no Sentinels");
    insta::assert_snapshot!(redis("redis = \"redis://a\"\nredis_ca = \"routes.toml\""), @r#"gateway.toml:120:12: the file "routes.toml" holds no certificate in PEM"#);
    insta::assert_snapshot!(said("prefix = \"portcullis\"", "prefix = \"{a}\""), @"gateway.toml:125:10: a prefix is made of letters, digits and - _ . :");
}
