//! The shapes that a Redis comes in: one server with TLS, a user of few rights and keys that begin otherwise; one that Sentinels watch, and a
//! Cluster, both in clear and over TLS to such a user. In each of them two gateways count one limit together, and what one of them revokes
//! the other hears at once.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster::{Redis, free_port, member_at},
    database::Database,
    platform::{PASSWORD, Platform, Setup, eventually, shipped},
    secure_backends::{Authority, Signed},
    shared_limits::{Admitted, QUOTA, WINDOW, hammer, limited, most_in_a_window, some, token, until_more},
};

/// How gateways reach a Redis.
struct Shape {
    url: String,
    env: Vec<(&'static str, String)>,
    edits: Vec<(&'static str, String)>,
    servers: Vec<Redis>,
    /// The ports by which servers know each other.
    ports: Vec<u16>,
    _sentinels: Vec<Sentinel>,
    _folder: Option<TempDir>,
    _tls: Option<Tls>,
}

/// A certificate that all servers have, of an authority of its own.
struct Tls {
    authority: Authority,
    signed: Signed,
}

/// One of those who choose a new master.
struct Sentinel {
    server: Child,
    port: u16,
    /// Where gateways ask it.
    asked_at: u16,
}

/// The rule that `gateway.toml` gives to operators.
pub(crate) fn rights(prefix: &str) -> Vec<String> {
    let text = fs::read_to_string(shipped("config/gateway.toml")).unwrap();
    let from = text.split_once("#   ACL SETUSER ").unwrap().1;
    let rule = from.split_once("\n# redis").unwrap().0.replace('#', " ");
    let own = format!("{prefix}:");
    let words = rule.split_whitespace().map(|word| word.replace("P:", &own).replace("PASSWORD", "secret"));
    ["acl", "setuser"].map(str::to_owned).into_iter().chain(words).collect()
}

/// Lets the user of the gateways do what the rule says, and what a shape needs besides.
fn allow(server: &Redis, prefix: &str, more: &[&str]) {
    let rights = rights(prefix);
    let words: Vec<_> = rights.iter().map(String::as_str).chain(more.iter().copied()).collect();
    assert_eq!(server.run(&words), "OK");
}

/// A server, and the port by which others know it. Tests ask it in clear, as a user who may do everything.
fn start(tls: Option<&Tls>, more: &[&str]) -> (Redis, u16) {
    let Some(tls) = tls else {
        let server = Redis::with(more);
        let port = server.port;
        return (server, port);
    };
    let port = free_port();
    let words: Vec<_> = tls.settings(port).into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect();
    let words: Vec<_> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
    (Redis::with(&words), port)
}

/// How gateways speak to who is there: in clear, or over TLS as a user of few rights.
fn url(tls: Option<&Tls>, place: &str) -> String {
    if tls.is_some() { format!("rediss://portcullis:secret@{place}") } else { format!("redis://{place}") }
}

// === impl Tls ===

impl Tls {
    fn new() -> Self {
        let authority = Authority::new();
        Self { signed: authority.sign("127.0.0.1"), authority }
    }

    /// What is said to a server, or a Sentinel, that speaks it here and to others of its kind.
    fn settings(&self, port: u16) -> [(&'static str, String); 7] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [
            ("tls-port", port.to_string()),
            ("tls-auth-clients", "no".to_owned()),
            ("tls-cert-file", text(&self.signed.certificate)),
            ("tls-key-file", text(&self.signed.key)),
            ("tls-ca-cert-file", text(&self.authority.ca())),
            ("tls-replication", "yes".to_owned()),
            ("tls-cluster", "yes".to_owned()),
        ]
    }
}

// === impl Shape ===

impl Shape {
    fn new(url: String, servers: impl IntoIterator<Item = (Redis, u16)>, tls: Option<Tls>) -> Self {
        let (servers, ports) = servers.into_iter().unzip();
        let ca =
            |tls: &Tls| ("# redis_ca = \"redis-ca.pem\"", format!("redis_ca = \"{}\"", tls.authority.ca().display()));
        let edits = tls.iter().map(ca).collect();
        Self { url, env: Vec::new(), edits, servers, ports, _sentinels: Vec::new(), _folder: None, _tls: tls }
    }

    /// One server that speaks TLS, to a user who may do what is needed by gateways of this prefix.
    fn secure() -> Self {
        let (tls, prefix) = (Tls::new(), "other");
        let (redis, port) = start(Some(&tls), &[]);
        redis.is_old_to(prefix);
        allow(&redis, prefix, &[]);
        let mut shape = Self::new(url(Some(&tls), &format!("127.0.0.1:{port}")), [(redis, port)], Some(tls));
        shape.edits.push(("prefix = \"portcullis\"", format!("prefix = \"{prefix}\"")));
        shape
    }

    /// A master and its replica, watched by three Sentinels.
    fn watched(tls: Option<Tls>) -> Self {
        let (folder, (master, port)) = (tempfile::tempdir().unwrap(), start(tls.as_ref(), &[]));
        master.is_old();
        let (replica, port_of_replica) = start(tls.as_ref(), &["--replicaof", "127.0.0.1", &port.to_string()]);
        has_caught_up(&replica);
        let sentinels: [_; 3] =
            std::array::from_fn(|n| Sentinel::of(port, tls.as_ref(), &folder.path().join(format!("{n}.conf"))));
        for sentinel in &sentinels {
            eventually("Sentinels to find each other and the replica", || {
                let known = cli(sentinel.port, &["sentinel", "master", "mymaster"]);
                let value = |name: &str| known.lines().skip_while(|line| *line != name).nth(1).map(str::to_owned);
                value("num-slaves").as_deref() == Some("1") && value("num-other-sentinels").as_deref() == Some("2")
            });
            if tls.is_some() {
                let few =
                    ["acl", "setuser", "portcullis", "on", ">secret", "-@all", "+sentinel|get-master-addr-by-name"];
                assert_eq!(cli(sentinel.port, &few), "OK");
            }
        }
        for server in [&master, &replica].into_iter().filter(|_| tls.is_some()) {
            allow(server, "portcullis", &[]);
        }
        let urls = sentinels.each_ref().map(|sentinel| url(tls.as_ref(), &format!("127.0.0.1:{}", sentinel.asked_at)));
        let servers = [(master, port), (replica, port_of_replica)];
        let mut shape = Self::new(url(tls.as_ref(), "mymaster/0"), servers, tls);
        let shipped = "# sentinels = \"redis://host-a:26379,redis://host-b:26379,redis://host-c:26379\"";
        shape.edits.push((shipped, "sentinels = { env = \"REDIS_SENTINELS\" }".to_owned()));
        let env = vec![("REDIS_SENTINELS", urls.join(","))];
        Self { env, _sentinels: sentinels.into(), _folder: Some(folder), ..shape }
    }

    /// Three masters, each with a replica.
    fn cluster(tls: Option<Tls>) -> Self {
        let servers: [_; 6] = std::array::from_fn(|_| {
            let bus = free_port().to_string();
            let more = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "1000"];
            start(tls.as_ref(), &[&more[..], &["--repl-diskless-sync-delay", "0"]].concat())
        });
        for (server, _) in &servers {
            eventually("a node to answer", || server.run(&["ping"]) == "PONG");
        }
        // In the way in which they speak to each other, so that they are introduced by the right ports.
        let cli = || {
            let mut cli = Command::new("redis-cli");
            if let Some(tls) = &tls {
                cli.args(["--tls", "--cacert"]).arg(tls.authority.ca());
            }
            cli
        };
        let places = servers.each_ref().map(|(_, port)| format!("127.0.0.1:{port}"));
        let create = cli()
            .args(["--cluster", "create"])
            .args(&places)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output();
        let done = create.unwrap();
        assert!(done.status.success(), "{done:?}");
        for (server, _) in &servers {
            eventually("the cluster", || server.run(&["cluster", "info"]).contains("cluster_state:ok"));
            if !is_master(server) {
                has_caught_up(server);
            }
            if tls.is_some() {
                allow(server, "portcullis", &["+cluster|slots"]);
            }
        }
        let marks: Vec<_> = (0..255).map(|tag| format!("set portcullis:{{{tag}}}:mark 1:1\n")).collect();
        let mut cli = cli();
        let cli = cli.args(["-c", "-p", &servers[0].1.to_string()]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut cli = cli.spawn().unwrap();
        cli.stdin.take().unwrap().write_all(marks.concat().as_bytes()).unwrap();
        assert!(cli.wait().unwrap().success());
        let urls = [0, 5].map(|n: usize| url(tls.as_ref(), &places[n]));
        let mut shape = Self::new(urls.join(","), servers, tls);
        shape.edits.push(("# cluster = true", "cluster = true".to_owned()));
        shape
    }

    fn member(&self, database: &Database) -> Setup {
        let setup =
            member_at(database, &self.url).edit("gateway.toml", "# on_outage = \"local\"", "on_outage = \"refuse\"");
        let setup = self.env.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
        self.edits.iter().fold(limited(setup), |setup, (from, to)| setup.edit("gateway.toml", from, to))
    }

    /// The master that counts for the only caller there is.
    fn home(&self) -> usize {
        let has = |server: &Redis| is_master(server) && !server.run(&["keys", "portcullis:*:p*"]).is_empty();
        self.servers.iter().position(has).unwrap()
    }

    fn replica_of(&self, index: usize) -> &Redis {
        let port = format!("master_port:{}\r", self.ports[index]);
        let is_its = |other: &&Redis| other.run(&["info", "replication"]).contains(&port);
        self.servers.iter().find(is_its).unwrap()
    }

    /// The master is gone: frozen or killed. Its replica has all that it knew; what it had not heard would be forgotten (0007, limits).
    fn lose(&self, index: usize, signal: &str) {
        let (master, replica) = (&self.servers[index], self.replica_of(index));
        assert_eq!(master.run(&["client", "pause", "60000", "write"]), "OK");
        let at = |server: &Redis, name: &str| {
            let told = server.run(&["info", "replication"]);
            told.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
        };
        eventually("the replica to have heard all", || {
            at(replica, "slave_repl_offset:") == at(master, "master_repl_offset:")
        });
        master.signal(signal);
    }
}

// === impl Sentinel ===

impl Sentinel {
    fn of(master: u16, tls: Option<&Tls>, config: &Path) -> Self {
        let (port, asked_at) = (free_port(), free_port());
        let mut text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 3000\n"
        );
        for (name, value) in tls.into_iter().flat_map(|tls| tls.settings(asked_at)) {
            writeln!(text, "{name} {value}").unwrap();
        }
        fs::write(config, text).unwrap();
        let server = Command::new("redis-server").arg(config).arg("--sentinel").stdout(Stdio::null()).spawn().unwrap();
        eventually("a Sentinel to answer", || cli(port, &["ping"]) == "PONG");
        Self { server, port, asked_at: if tls.is_some() { asked_at } else { port } }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

fn cli(port: u16, words: &[&str]) -> String {
    let done = Command::new("redis-cli").args(["-p", &port.to_string()]).args(words).output().unwrap();
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

fn is_master(server: &Redis) -> bool {
    server.run(&["info", "replication"]).contains("role:master")
}

fn has_caught_up(replica: &Redis) {
    eventually("the replica", || replica.run(&["info", "replication"]).contains("master_link_status:up"));
}

fn set_slot(slot: &str, server: &Redis, how: &str, node: &str) {
    assert_eq!(server.run(&["cluster", "setslot", slot, how, node]), "OK", "{how}");
}

/// All that is in a slot goes to another master, and who is asked for it says so; the slot itself does not go.
fn empty_slot(slot: &str, from: &Redis, to: &Redis) {
    let [old, new] = [from, to].map(|server| server.run(&["cluster", "myid"]));
    set_slot(slot, to, "importing", &old);
    set_slot(slot, from, "migrating", &new);
    let (port, left) = (to.port.to_string(), || from.run(&["cluster", "getkeysinslot", slot, "1000"]));
    eventually("its keys to have gone", || {
        let keys = left();
        let words = ["migrate", "127.0.0.1", &port, "", "0", "5000", "keys"].into_iter().chain(keys.lines());
        from.run(&words.collect::<Vec<_>>());
        left().is_empty()
    });
}

/// A slot goes to another master, with all that is in it.
fn move_slot(slot: &str, from: &Redis, to: &Redis) {
    empty_slot(slot, from, to);
    let new = to.run(&["cluster", "myid"]);
    set_slot(slot, to, "node", &new);
    set_slot(slot, from, "node", &new);
}

/// Whether what `one` revokes is refused by `other` at once, most times. By polls alone that would be a chance of one in a hundred.
fn is_told_at_once(one: &Platform, other: &Platform) -> bool {
    // On a busy machine Redis may seem to be away for a moment.
    let post = |path: &str, token: Option<&str>, body: &Value| {
        let mut answer = None;
        eventually(path, || answer.insert(one.post(path, token, body)).status == 200);
        answer.unwrap()
    };
    let time = || {
        let login = post("/auth/login", None, &json!({ "email": "bob@example.com", "password": PASSWORD })).json();
        let token = login["access_token"].as_str().unwrap();
        eventually("a token to be known", || other.get("/demo/x", token).status == 200);
        post("/auth/logout", Some(token), &json!({}));
        let ended = Instant::now();
        eventually("the other node to hear of it", || other.get("/demo/x", token).code() == "revoked");
        ended.elapsed()
    };
    let mut times: Vec<_> = (0..9).map(|_| time()).collect();
    times.sort();
    times[4] < Duration::from_millis(200)
}

fn are_back(nodes: &[Platform]) {
    let is_back =
        |node: &Platform| node.metric("portcullis_limits_away") == 0 && node.metric("portcullis_redis_healthy") == 1;
    eventually("Redis to be found", || nodes.iter().all(is_back));
}

/// Two gateways that count one limit together, whatever `act` does to their Redis while a caller hammers them.
fn two_count_together(shape: &Shape, name: &str, act: impl FnOnce(&[Platform], &Mutex<Vec<Admitted>>)) {
    let database = Database::new(name);
    let nodes: [_; 2] = some(|| shape.member(&database));
    are_back(&nodes);
    let ada = token(&nodes[0], "ada@example.com");
    token(&nodes[0], "bob@example.com");
    eventually("revocations to be pushed", || is_told_at_once(&nodes[0], &nodes[1]));
    eventually("a lease", || nodes[0].get("/demo/x", &ada).status == 200);
    let admitted = hammer(&nodes, &ada, |admitted| {
        until_more(admitted, QUOTA + 1, "more than one quota");
        act(&nodes, admitted);
    });
    let most = most_in_a_window(admitted);
    assert!(most <= QUOTA, "{most} in {WINDOW:?}");
    are_back(&nodes);
    eventually("revocations to be pushed again", || is_told_at_once(&nodes[0], &nodes[1]));
}

/// Nobody is let in until there is another master, and nobody waits for the old one. Then all goes on by itself.
fn is_survived(nodes: &[Platform], admitted: &Mutex<Vec<Admitted>>) {
    eventually("the loss to be noticed", || nodes.iter().all(|node| node.metric("portcullis_limits_away") == 1));
    let failed =
        || nodes.iter().map(|node| node.metric("portcullis_lease_calls_total{outcome=\"failed\"}")).sum::<u64>();
    let before = failed();
    for _ in 0..50 {
        assert!(nodes[1].send("GET", "/readyz", &[], "").status == 200);
    }
    // What was under way when it was noticed may fail, too.
    assert!(failed() <= before + 2, "{} after {before}", failed());
    until_more(admitted, QUOTA + 1, "leases from the new master");
}

#[test]
fn two_gateways_count_together_over_tls_with_no_more_rights_than_the_configuration_asks_for() {
    two_count_together(&Shape::secure(), "secure", |_, _| ());
}

#[test]
fn a_redis_whose_authority_was_not_named_is_not_trusted() {
    let (database, mut shape) = (Database::new("untrusted"), Shape::secure());
    shape.edits.clear();
    let node = shape.member(&database).start();
    eventually("the log to say so", || node.log().contains("UnknownIssuer"));
    assert_eq!((node.metric("portcullis_limits_away"), node.metric("portcullis_redis_healthy")), (1, 0));
}

fn sentinels_are_followed(shape: &Shape, name: &str) {
    two_count_together(shape, name, |nodes, admitted| {
        let home = shape.home();
        shape.lose(home, "-STOP");
        is_survived(nodes, admitted);
        // It has heard everything: its memory goes on, and no caller waits for a window.
        assert_eq!(shape.servers[1 - home].run(&["get", "portcullis:{7}:mark"]), "1:1");
    });
}

fn replicas_take_over(shape: &Shape, name: &str) {
    two_count_together(shape, name, |nodes, admitted| {
        // As planned, with both alive: the old master says that the keys have moved.
        assert_eq!(shape.replica_of(shape.home()).run(&["cluster", "failover"]), "OK");
        until_more(admitted, QUOTA + 1, "leases from the replica");
        eventually("the old master to follow", || {
            let home = format!("master_port:{}\r", shape.ports[shape.home()]);
            shape.servers.iter().any(|server| {
                let told = server.run(&["info", "replication"]);
                told.contains(&home) && told.contains("master_link_status:up")
            })
        });
        shape.lose(shape.home(), "-KILL");
        is_survived(nodes, admitted);
    });
}

#[test]
fn two_gateways_count_together_and_follow_sentinels_to_another_master() {
    sentinels_are_followed(&Shape::watched(None), "watched");
}

#[test]
fn sentinels_are_followed_over_tls_with_no_more_rights_than_the_configuration_asks_for() {
    sentinels_are_followed(&Shape::watched(Some(Tls::new())), "watched_over_tls");
}

#[test]
fn two_gateways_count_together_on_a_cluster_and_go_on_when_a_replica_takes_over() {
    replicas_take_over(&Shape::cluster(None), "shards");
}

#[test]
fn a_cluster_is_used_over_tls_with_no_more_rights_than_the_configuration_asks_for() {
    replicas_take_over(&Shape::cluster(Some(Tls::new())), "shards_over_tls");
}

#[test]
fn two_gateways_count_together_on_a_cluster_whose_slots_move() {
    let shape = Shape::cluster(None);
    two_count_together(&shape, "resharded", |_, admitted| {
        let masters: Vec<_> = shape.servers.iter().filter(|server| is_master(server)).collect();
        let of_callers = |n: usize| {
            let keys = masters[n].run(&["keys", "portcullis:*:p*"]);
            let slots: BTreeSet<_> = keys.lines().map(|key| masters[n].run(&["cluster", "keyslot", key])).collect();
            slots.into_iter().map(move |slot| (n, slot))
        };
        let slots: Vec<_> = (0..masters.len()).flat_map(of_callers).collect();
        assert!(!slots.is_empty());
        // The masters answer on, for other slots, one of which the gateways look at.
        for (n, slot) in slots {
            move_slot(&slot, masters[n], masters[(n + 1) % masters.len()]);
        }
        until_more(admitted, QUOTA + 1, "leases from where the slots went");
    });
}

#[test]
fn while_a_slot_is_half_moved_callers_of_other_slots_are_lent_to() {
    let (database, shape) = (Database::new("half_moved"), Shape::cluster(None));
    let nodes: [_; 1] = some(|| shape.member(&database));
    let [node] = &nodes;
    are_back(&nodes);
    let ada = token(node, "ada@example.com");
    // One of them at least has another slot than she has.
    let others = ["bob@example.com", "cid@example.com"].map(|email| token(node, email));
    eventually("a lease", || node.get("/demo/x", &ada).status == 200);
    let home = shape.home();
    let to = (0..shape.servers.len()).find(|n| *n != home && is_master(&shape.servers[*n])).unwrap();
    let (from, to) = (&shape.servers[home], &shape.servers[to]);
    let keys = from.run(&["keys", "portcullis:*:p*"]);
    empty_slot(&from.run(&["cluster", "keyslot", keys.lines().next().unwrap()]), from, to);
    eventually("it to be noticed", || node.get("/demo/x", &ada).status == 503);
    eventually("others to be lent to", || {
        drop(node.get("/demo/x", &ada));
        others.iter().any(|other| node.get("/demo/x", other).status == 200)
    });
}
