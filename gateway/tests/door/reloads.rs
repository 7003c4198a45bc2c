//! What a new configuration changes in a running gateway, and what it says that it does not.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::Path,
    sync::mpsc,
    thread,
};

use serde_json::{Value, json};

use crate::platform::{Answer, Platform, Setup, eventually, exchange};

fn reload(platform: &Platform, admin: &str) -> Value {
    let answer = platform.post("/admin/config/reload", Some(admin), &json!({}));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["needs_restart"].clone()
}

/// A setting that needs a restart as it is reported, a line of the shipped file, and the same line with something else in it.
const RESTARTS: &[(&str, &str, &str)] = &[
    ("server.worker_threads", "worker_threads = 0", "worker_threads = 1000"),
    ("server.max_header_bytes", "max_header_bytes = 32768", "max_header_bytes = 4096"),
    ("server.max_header_fields", "max_header_fields = 100", "max_header_fields = 10"),
    ("server.header_timeout", "header_timeout = \"10s\"", "header_timeout = \"11s\""),
    ("server.min_body_rate", "min_body_rate = 240", "min_body_rate = 241"),
    ("server.write_timeout", "write_timeout = \"60s\"", "write_timeout = \"61s\""),
    ("server.max_connections", "max_connections = 20000", "max_connections = 20001"),
    ("server.max_connections_percent", "max_connections_percent = 45", "max_connections_percent = 44"),
    ("server.max_connections_per_address", "connections_per_address = 10000", "connections_per_address = 9999"),
    ("server.max_requests", "max_requests = 20000", "max_requests = 20001"),
    ("server.max_requests_per_address", "requests_per_address = 10000", "requests_per_address = 9999"),
    ("server.max_requests_per_connection", "requests_per_connection = 100000", "requests_per_connection = 99"),
    ("server.http2_max_streams", "http2_max_streams = 100", "http2_max_streams = 101"),
    ("server.http2_max_resets", "http2_max_resets = 200", "http2_max_resets = 201"),
    ("server.http2_max_control_frames", "http2_max_control_frames = 1000", "http2_max_control_frames = 1001"),
    ("server.memory_limit", "memory_limit = 0", "memory_limit = 1"),
    ("server.drain_delay", "default = \"0s\"", "default = \"1s\""),
    ("server.drain", "drain = \"30s\"", "drain = \"31s\""),
    ("server.refusals", "refusals = \"120/minute\"", "refusals = \"121/minute\""),
    ("server.keepalive", "keepalive = \"60s\"", "keepalive = \"61s\""),
    ("server.limiter_capacity", "limiter_capacity = 1000000", "limiter_capacity = 1000001"),
    ("listen", "proxy_protocol = false", "proxy_protocol = true"),
    ("tls", "# client_ca = \"tls/clients.pem\"", "client_ca = \"../ca.pem\""),
    ("store", "acquire_timeout = \"2s\"", "acquire_timeout = \"3s\""),
    ("cache", "credentials = 100000", "credentials = 100001"),
    ("retention", "changes = \"7d\"", "changes = \"8d\""),
    ("shared", "\nprefix = \"portcullis\"", "\nprefix = \"elsewhere\""),
    ("tokens", "assertion_ttl = \"5m\"", "assertion_ttl = \"4m\""),
    (
        "issuers",
        "\n[[issuers]]\n",
        "\n[[issuers]]\nissuer = \"https://id.test\"\naudience = \"door\"\naccounts = \"existing\"\n\n[[issuers]]\n",
    ),
    (
        "legacy_issuers",
        "# [[legacy_issuers]]",
        "[[legacy_issuers]]\nname = \"old\"\nsecret = { file = \"../secret\" }\nuntil = \"2099-12-31\"",
    ),
    ("accounts", "product = \"Portcullis\"", "product = \"Elsewhere\""),
    ("passwords", "min_chars = 8", "min_chars = 9"),
    ("lockout", "longest = \"24h\"", "longest = \"25h\""),
    ("mail", "give_up_after = \"3d\"", "give_up_after = \"4d\""),
    ("secrets", "master_key_file = \"master.key\"", "master_key_file = \"other.key\""),
    ("log", "level = \"info\"", "level = \"warn\""),
    ("mfa", "totp_skew = 1", "totp_skew = 0"),
    ("mfa", "issuer = \"Portcullis\"", "issuer = \"Elsewhere\""),
    ("pages", "cookie_idle = \"1h\"", "cookie_idle = \"2h\""),
    (
        "login_providers",
        "# [[login_providers]]",
        "[[login_providers]]\nid = \"acme\"\nissuer = \"https://id.test\"\nclient_id = \"door\"\n\
         client_secret = { file = \"../secret\" }",
    ),
    ("usage", "carry = \"1s\"", "carry = \"2s\""),
    ("billing", "due = \"14d\"", "due = \"15d\""),
];

/// What the shipped file marks so: whole sections above which it says (restart), and keys of `[server]`.
fn marked(text: &str) -> BTreeSet<String> {
    let (mut marked, mut section, mut is_whole) = (BTreeSet::new(), "", false);
    for line in text.lines() {
        if line.starts_with("# ------") {
            is_whole = line.ends_with("(restart)");
        } else if line.starts_with('[') {
            section = line.trim_start_matches('[').split(']').next().unwrap();
            marked.extend(is_whole.then(|| section.to_owned()));
        } else if section == "server" && line.contains("(restart)") && !line.starts_with('#') {
            marked.insert(format!("server.{}", line.split(' ').next().unwrap()));
        }
    }
    marked
}

#[test]
fn every_setting_that_needs_a_restart_is_named_and_none_takes_effect_by_halves() {
    let platform = Setup::default().env("PORTCULLIS_TRUSTED_PROXIES", "192.0.2.1").start();
    let admin = platform.admin();
    // The command line names the listener.
    assert_eq!(reload(&platform, &admin), json!([]));
    let file = platform.folder.path().join("config/gateway.toml");
    let shipped = fs::read_to_string(&file).unwrap();
    let named: BTreeSet<String> = RESTARTS.iter().map(|(section, ..)| (*section).to_owned()).collect();
    let unnamed: Vec<_> = marked(&shipped).difference(&named).cloned().collect();
    assert!(marked(&shipped).len() > 25 && unnamed.is_empty(), "{unnamed:?}");
    let authority = rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap().cert.pem();
    fs::write(platform.folder.path().join("ca.pem"), authority).unwrap();
    fs::write(platform.folder.path().join("secret"), "a secret of thirty-two bytes, or of more").unwrap();
    for (section, from, to) in RESTARTS {
        assert!(shipped.contains(from), "{from}");
        fs::write(&file, shipped.replacen(from, to, 1)).unwrap();
        assert_eq!(reload(&platform, &admin), json!([section]), "{to}");
    }
    // The pages of the door are called what those of the account service are: for both it is what it was at the start.
    let demo = shipped.lines().find(|line| line.starts_with("servers = ")).unwrap();
    let renamed = shipped.replacen("product = \"Portcullis\"", "product = \"Elsewhere\"", 1);
    fs::write(&file, renamed.replacen(demo, "servers = [\"127.0.0.1:1\"]", 1)).unwrap();
    assert_eq!(reload(&platform, &admin), json!(["accounts"]));
    let page = platform.send("GET", "/demo/public/x", &[("Accept", "text/html")], "");
    assert!(page.body.contains("Portcullis") && !page.body.contains("Elsewhere"), "{page:?}");
    // As many fields as the start allows, though the file that is in force says 10.
    fs::write(&file, shipped.replacen("max_header_fields = 100", "max_header_fields = 10", 1)).unwrap();
    reload(&platform, &admin);
    let mut request = "GET /demo/public/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".to_owned();
    (0..30).for_each(|number| write!(request, "X-{number}: y\r\n").unwrap());
    let answer = Answer::parse(&exchange(platform.http, format!("{request}\r\n").as_bytes()));
    assert_eq!(answer.status, 200, "{answer:?}");
    // What may change while it runs does so without a word.
    fs::write(&file, shipped.replacen("max_uri_bytes = 8192", "max_uri_bytes = 64", 1)).unwrap();
    assert_eq!(reload(&platform, &admin), json!([]));
    assert_eq!(platform.send("GET", &format!("/demo/public/{}", "x".repeat(64)), &[], "").status, 414);
}

#[test]
fn an_upstream_that_never_came_in_force_is_counted_nowhere() {
    let platform = Platform::start();
    let admin = platform.admin();
    let file = platform.folder.path().join("config/gateway.toml");
    let typo = "\n[upstreams.typo]\nservers = [\"no-such-host.invalid:80\"]\n";
    fs::write(&file, fs::read_to_string(&file).unwrap() + typo).unwrap();
    let refused = platform.post("/admin/config/reload", Some(&admin), &json!({}));
    assert_eq!((refused.status, refused.code().as_str()), (422, "config_refused"), "{refused:?}");
    let told = exchange(platform.metrics, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let told = Answer::parse(&told).body;
    let gauge = "portcullis_upstream_servers_healthy{upstream=";
    assert!(told.contains(&format!("{gauge}\"demo\"}} 1")) && !told.contains(&format!("{gauge}\"typo\"")), "{told}");
}

const ADDED: &str = "\n[[route]]\nname = \"added\"\npaths = [\"/added\"]\nupstream = \"demo\"\nauth = \"none\"\n";

#[test]
fn a_folder_that_is_put_in_the_place_of_another_is_read_and_watched() {
    let platform = Setup::default().start();
    let (config, next) = (platform.folder.path().join("config"), platform.folder.path().join("next"));
    let routes = fs::read_to_string(config.join("routes.toml")).unwrap();
    copy_with(&next, ADDED);
    fs::rename(&config, platform.folder.path().join("old")).unwrap();
    fs::rename(&next, &config).unwrap();
    let status = || platform.send("GET", "/added", &[], "").status;
    eventually("the new folder to be read", || status() == 200);
    // And what is changed in it.
    fs::write(config.join("routes.toml"), routes).unwrap();
    eventually("the change to be read", || status() == 404);
}

/// Makes the link, or leads one that there is elsewhere: at every moment there is one.
fn lead(link: &Path, to: &str) {
    let made = link.with_file_name("made");
    symlink(to, &made).unwrap();
    fs::rename(made, link).unwrap();
}

/// A copy of the shipped configuration with these routes besides.
fn copy_with(to: &Path, more: &str) {
    crate::platform::copy_config(to);
    let routes = fs::read_to_string(to.join("routes.toml")).unwrap();
    fs::write(to.join("routes.toml"), format!("{routes}{more}")).unwrap();
}

/// As Kubernetes mounts a `ConfigMap`: each file is a link by way of `..data`, which is led to another folder at once.
#[test]
fn a_folder_whose_files_are_exchanged_at_once_by_a_link_is_read_anew() {
    let setup = Setup::default();
    let folder = setup.folder();
    let config = folder.path().join("config");
    fs::remove_dir_all(&config).unwrap();
    copy_with(&config.join("..1"), "");
    lead(&config.join("..data"), "..1");
    for entry in fs::read_dir(config.join("..1")).unwrap() {
        let name = entry.unwrap().file_name();
        symlink(Path::new("..data").join(&name), config.join(&name)).unwrap();
    }
    let platform = setup.start_in(folder);
    let status = || platform.send("GET", "/added", &[], "").status;
    for (before, next, more, answer) in [("..1", "..2", ADDED, 200), ("..2", "..3", "", 404)] {
        copy_with(&config.join(next), more);
        lead(&config.join("..data"), next);
        fs::remove_dir_all(config.join(before)).unwrap();
        eventually("the new files to be read", || status() == answer);
    }
}

#[test]
fn a_file_that_is_a_link_is_read_anew_when_it_leads_elsewhere_or_changes_there() {
    let setup = Setup::default();
    let folder = setup.folder();
    let (routes, elsewhere) = (folder.path().join("config/routes.toml"), folder.path().join("elsewhere"));
    copy_with(&elsewhere.join("1"), "");
    copy_with(&elsewhere.join("2"), ADDED);
    lead(&elsewhere.join("now"), "1");
    lead(&routes, "../elsewhere/now/routes.toml");
    let platform = setup.start_in(folder);
    let status = || platform.send("GET", "/added", &[], "").status;
    assert_eq!(status(), 404);
    lead(&elsewhere.join("now"), "2");
    eventually("what the link leads to now", || status() == 200);
    fs::copy(elsewhere.join("1/routes.toml"), elsewhere.join("2/routes.toml")).unwrap();
    eventually("the change there", || status() == 404);
}

/// Changes a file of the configuration that is served, and puts that in force.
fn change(platform: &Platform, admin: &str, file: &str, from: &str, to: &str) {
    let path = platform.folder.path().join("config").join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no `{from}` to replace");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    assert_eq!(reload(platform, admin), json!([]));
}

#[test]
fn a_request_under_way_ends_by_the_rules_it_began_with() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    let (arrived, has_arrived) = mpsc::channel();
    let backend = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        while !bytes.ends_with(b"second") {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&buffer[..read]);
            if bytes.ends_with(b"first-") {
                arrived.send(()).unwrap();
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").unwrap();
    });
    let route = "\n[[route]]\nname = \"held\"\npaths = [\"/held\"]\nupstream = \"demo\"\n";
    let platform = Setup::default().upstream(upstream).append("routes.toml", route).start();
    let admin = platform.admin();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let mut client = TcpStream::connect(platform.http).unwrap();
    let head = format!(
        "POST /held HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: 12\r\n\r\n"
    );
    client.write_all(format!("{head}first-").as_bytes()).unwrap();
    has_arrived.recv().unwrap();
    // Neither the caller nor the length of the body would be let in from here on.
    change(&platform, &admin, "routes.toml", "name = \"held\"\n", "name = \"held\"\nroles = [\"admin\"]\n");
    change(&platform, &admin, "gateway.toml", "max_body_bytes = 10485760", "max_body_bytes = 5");
    assert_eq!(platform.get("/held", &token).code(), "forbidden");
    assert_eq!(platform.post("/held", Some(&admin), &json!("first-second")).status, 413);
    client.write_all(b"second").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    let answer = Answer::parse(&answer);
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    backend.join().unwrap();
}

#[test]
fn new_roles_and_tiers_count_at_once_for_callers_who_are_known_and_what_is_spent_stays_spent() {
    let route =
        "\n[[route]]\nname = \"code\"\npaths = [\"/code\"]\nupstream = \"demo\"\npermissions = [\"code:generate\"]\n";
    let hourly = Setup::default().edit("tiers.toml", "\"100/minute\"", "\"100/hour\"");
    let platform = hourly.append("routes.toml", route).start();
    let admin = platform.admin();
    let token = platform.register("ada@example.com")["access_token"].as_str().unwrap().to_owned();
    let get = || platform.get("/code", &token);
    let left = || get().header("x-ratelimit-remaining").unwrap().to_owned();
    (1..=40).for_each(|spent| assert_eq!(left(), (100 - spent).to_string()));
    let (may, may_not) = ("\"code:generate\", \"usage:read\"", "\"usage:read\"");
    change(&platform, &admin, "roles.toml", may, may_not);
    assert_eq!(get().code(), "forbidden");
    change(
        &platform,
        &admin,
        "roles.toml",
        &format!("\"integrations:*\", {may_not}"),
        &format!("\"integrations:*\", {may}"),
    );
    assert_eq!(left(), "59", "who is refused spends nothing, and nobody is given anew what was spent");
    let free = |quota: &str| format!("[tier.free]\nlimits = [{{ per = \"user\", requests = \"{quota}/hour\"");
    change(&platform, &admin, "tiers.toml", &free("100"), &free("42"));
    assert_eq!(left(), "0");
    let refused = get();
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"), "{refused:?}");
    change(&platform, &admin, "tiers.toml", &free("42"), &free("50"));
    assert_eq!(left(), "7");
}
