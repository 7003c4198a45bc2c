//! What a new configuration changes in a running gateway, and what it says that it does not.

use std::{fmt::Write, fs, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};

use crate::platform::{Answer, Platform, Setup, eventually, exchange};

fn reload(platform: &Platform, admin: &str) -> Value {
    let answer = platform.post("/admin/config/reload", Some(admin), &json!({}));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["needs_restart"].clone()
}

#[test]
fn every_setting_that_needs_a_restart_is_named_and_none_takes_effect_by_halves() {
    let platform = Setup::default().env("PORTCULLIS_TRUSTED_PROXIES", "192.0.2.1").start();
    let admin = platform.admin();
    // The command line names the listener.
    assert_eq!(reload(&platform, &admin), json!([]));
    let file = platform.folder.path().join("config/gateway.toml");
    let shipped = fs::read_to_string(&file).unwrap();
    let authority = platform.folder.path().join("ca.pem");
    fs::write(&authority, rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap().cert.pem()).unwrap();
    fs::write(platform.folder.path().join("secret"), "a secret of thirty-two bytes, or of more").unwrap();
    let legacy = "[[legacy_issuers]]\nname = \"old\"\nsecret = { file = \"../secret\" }\nuntil = \"2099-12-31\"";
    let client_ca = format!("client_ca = \"{}\"", authority.display());
    for (section, from, to) in [
        ("server.max_header_bytes", "max_header_bytes = 32768", "max_header_bytes = 4096"),
        ("server.max_header_fields", "max_header_fields = 100", "max_header_fields = 10"),
        ("server.header_timeout", "header_timeout = \"10s\"", "header_timeout = \"11s\""),
        ("server.min_body_rate", "min_body_rate = 240", "min_body_rate = 241"),
        ("server.write_timeout", "write_timeout = \"60s\"", "write_timeout = \"61s\""),
        ("server.max_connections", "max_connections = 20000", "max_connections = 20001"),
        (
            "server.max_connections_per_address",
            "max_connections_per_address = 10000",
            "max_connections_per_address = 9999",
        ),
        ("server.max_requests", "max_requests = 20000", "max_requests = 20001"),
        (
            "server.max_requests_per_connection",
            "max_requests_per_connection = 100000",
            "max_requests_per_connection = 99",
        ),
        ("server.http2_max_streams", "http2_max_streams = 100", "http2_max_streams = 101"),
        ("server.http2_max_resets", "http2_max_resets = 200", "http2_max_resets = 201"),
        ("server.http2_max_control_frames", "http2_max_control_frames = 1000", "http2_max_control_frames = 1001"),
        ("server.memory_limit", "memory_limit = 0", "memory_limit = 1"),
        ("server.drain_delay", "default = \"0s\"", "default = \"1s\""),
        ("server.drain", "drain = \"30s\"", "drain = \"31s\""),
        ("server.refusals", "refusals = \"120/minute\"", "refusals = \"121/minute\""),
        ("server.keepalive", "keepalive = \"60s\"", "keepalive = \"61s\""),
        ("listen", "proxy_protocol = false", "proxy_protocol = true"),
        ("tls", "# client_ca = \"tls/clients.pem\"", &client_ca),
        ("accounts", "product = \"Portcullis\"", "product = \"Elsewhere\""),
        ("mfa", "totp_skew = 1", "totp_skew = 0"),
        ("mfa", "issuer = \"Portcullis\"", "issuer = \"Elsewhere\""),
        ("legacy_issuers", "# [[legacy_issuers]]", legacy),
    ] {
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
