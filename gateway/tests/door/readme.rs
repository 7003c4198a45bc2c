//! What README promises: its commands run as they stand, against the shipped configuration.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use crate::platform::{Answer, PORTCULLIS, Platform, Running, copy_config, eventually, exchange, shipped};

/// The fenced blocks of a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let readme = fs::read_to_string(shipped("README.md")).unwrap();
    let fence = format!("```{language}\n");
    let indented =
        |block: &str| block.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
    readme.split(&fence).skip(1).map(|rest| indented(rest.split("```").next().unwrap())).collect()
}

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    let platform = Platform::start();
    let script = blocks("sh").into_iter().find(|block| block.contains("DOOR=")).unwrap();
    let script = script.replace("http://127.0.0.1:8080", &format!("http://{}", platform.http));
    let output = Command::new("bash").args(["-euc", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for (count, text) in [
        (1, "\"code\":\"missing_credential\""),
        (2, "\"code\":\"forbidden\""),
        (1, "\"x-auth-method\":[\"jwt\"]"),
        (1, "\"x-auth-method\":[\"api_key\"]"),
        (1, "429 "),
        (1, "\"code\":\"revoked\""),
    ] {
        assert!(said.matches(text).count() >= count, "{text} is missing in:\n{said}");
    }
    assert!(said.contains("200 200 ") && said.contains("200 429 "), "the limit is met at the end of a row:\n{said}");
}

/// What make says on standard output.
fn make(words: &[&str]) -> String {
    let output = Command::new("make").args(words).current_dir(shipped("")).output().unwrap();
    assert!(output.status.success(), "make {words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// `make x` where a line of a shell begins so, or in prose between backticks.
#[test]
fn every_target_of_make_that_the_readme_names_is_one_and_make_help_tells_of_it() {
    let readme = fs::read_to_string(shipped("README.md")).unwrap();
    let script = blocks("sh").join("\n");
    let typed = script.lines().filter_map(|line| line.strip_prefix("make "));
    let word = |rest: &str| -> String {
        rest.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '-').collect()
    };
    let named: BTreeSet<_> = readme.split("`make ").skip(1).chain(typed).map(word).collect();
    assert!(named.contains("run") && named.contains("cluster") && named.len() >= 10, "{named:?}");
    let help = make(&["help"]);
    for target in named {
        make(&["-n", &target]);
        assert!(help.contains(&format!("  make {target} ")), "make {target} is not in:\n{help}");
    }
}

#[test]
fn every_size_that_make_endurance_sets_is_read_by_a_test_that_it_runs() {
    let said = make(&["-n", "endurance"]);
    let variables = said.split_whitespace().filter_map(|word| Some(word.split_once('=')?.0.to_owned()));
    let set: BTreeSet<_> = variables.filter(|name| name.starts_with("PORTCULLIS_")).collect();
    let tests = said.split("test(=").skip(1).map(|rest| rest.split(')').next().unwrap());
    let reads = |test: &str| {
        let (file, name) = test.split_once("::").unwrap();
        let text = fs::read_to_string(shipped(&format!("gateway/tests/door/{file}.rs"))).unwrap();
        let body = text.split(&format!("fn {name}()")).nth(1).unwrap_or_else(|| panic!("{test} is not there"));
        body.split("env::var(\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    assert_eq!(set.len(), 5, "{said}");
    assert_eq!(tests.map(reads).collect::<BTreeSet<_>>(), set);
}

/// On a machine that has all but what tests are run by and the environments of Python that they make.
#[test]
fn what_the_tests_need_is_installed_where_it_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (asked, path) = (folder.path().join("asked"), std::env::var("PATH").unwrap());
    let asks = format!("echo \"${{0##*/}} $*\" >>'{}'", asked.display());
    let lacks_nextest = format!("[ \"$1\" != nextest ] || exit 101\n{asks}");
    for (name, does) in [("cargo", &*lacks_nextest), ("python3", "exit 1"), ("apt-get", &asks), ("sudo", "exec \"$@\"")]
    {
        let file = folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new(shipped("scripts/install-deps"))
        .arg("test")
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let asked = fs::read_to_string(asked).unwrap();
    let line = |words: &[&str]| asked.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(&["apt-get", "install", "python3-venv"]), "{asked}");
    assert!(line(&["cargo install --locked", "cargo-nextest@"]), "{asked}");
}

/// The fenced blocks of a section with their languages, in order.
fn section(title: &str) -> Vec<(String, String)> {
    let readme = fs::read_to_string(shipped("README.md")).unwrap();
    let section = readme.split(&format!("\n## {title}\n")).nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let plain = |line: &str| line.strip_prefix("   ").unwrap_or(line).to_owned();
    let block = |text: &str| {
        let (language, lines) = text.split_once('\n').unwrap();
        (language.to_owned(), lines.lines().map(plain).collect::<Vec<_>>().join("\n"))
    };
    section.split("```").skip(1).step_by(2).map(block).collect()
}

#[test]
fn a_service_is_protected_by_the_steps_that_the_readme_gives() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    copy_config(&place.join("config"));
    fs::create_dir_all(place.join("target/release")).unwrap();
    symlink(PORTCULLIS, place.join("target/release/portcullis")).unwrap();
    let (mut said, mut door) = (String::new(), None);
    for (language, block) in section("Protect a service in five minutes") {
        let mut step = Command::new("bash");
        let serves = block.contains(" serve ");
        let script = if serves { format!("exec {block}") } else { block.clone() };
        // On ports that are free, and no database that somebody else means.
        step.args(["-euc", &script]).current_dir(place).env_remove("DATABASE_URL");
        step.env("PORTCULLIS_LISTEN", "127.0.0.1:0").env("PORTCULLIS_METRICS_LISTEN", "127.0.0.1:0");
        if language == "toml" {
            let file =
                place.join("mine").join(if block.contains("[[route]]") { "routes.toml" } else { "gateway.toml" });
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, format!("{text}\n{block}\n")).unwrap();
        } else if serves {
            door = Some(Running::start(&mut step, Some(&place.join("log"))));
        } else {
            let output = step.output().unwrap();
            assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
            said += &String::from_utf8_lossy(&output.stdout);
        }
    }
    assert!(said.contains("/reports/*"), "{said}");
    assert!(said.contains("created administrator you@example.com") && said.contains("choose a password: "), "{said}");
    let door = door.expect("a step that serves");
    let asked = exchange(door.address("http"), b"GET /reports/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(Answer::parse(&asked).code(), "missing_credential");
}

#[test]
fn the_configuration_of_the_benchmark_is_good() {
    let output = Command::new(PORTCULLIS)
        .args(["check", "--config"])
        .arg(shipped("bench/config"))
        .env("BENCH_UPSTREAM", "127.0.0.1:1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `make run` as a terminal starts it: in a process group, which hears Ctrl-C as a whole.
fn of_a_terminal(folder: &Path, drain_delay: &str) -> (Running, impl Fn() -> String) {
    let log = folder.join("log");
    let mut command = Command::new("env");
    command
        .arg("--default-signal=INT")
        .arg(shipped("scripts/run"))
        .arg(PORTCULLIS)
        .process_group(0)
        .env("DATA", folder.join("data"))
        .env("LISTEN", "127.0.0.1:0")
        .env("DEMO_LISTEN", "127.0.0.1:0")
        .env("PORTCULLIS_METRICS_LISTEN", "127.0.0.1:0")
        .env("PORTCULLIS_DRAIN_DELAY", drain_delay);
    let running = Running::start(&mut command, Some(&log));
    (running, move || fs::read_to_string(&log).unwrap())
}

fn press_ctrl_c(running: &Running) {
    let everybody = format!("-{}", running.pid());
    assert!(Command::new("kill").args(["-INT", "--", &everybody]).status().unwrap().success());
}

#[test]
fn make_run_starts_everything_says_what_to_try_and_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, said) = of_a_terminal(folder.path(), "2s");
    let http = running.address("http");
    let hello = exchange(http, b"GET /demo/public/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(String::from_utf8_lossy(&hello).starts_with("HTTP/1.1 200"));
    let door = format!("DOOR=http://{http}.");
    eventually("what to try", || said().contains(&door));
    press_ctrl_c(&running);
    assert_eq!(running.wait(), Some(0));
    assert!(std::net::TcpStream::connect(http).is_err());
    let said = said();
    assert!(said.contains("told to stop") && !said.contains("is cut off"), "told twice: {said}");
}

#[test]
fn whoever_stops_make_run_twice_waits_for_nobody_and_leaves_nobody_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, said) = of_a_terminal(folder.path(), "1h");
    let http = running.address("http");
    press_ctrl_c(&running);
    eventually("it to be told", || said().contains("told to stop"));
    press_ctrl_c(&running);
    assert_eq!(running.wait(), Some(0));
    assert!(std::net::TcpStream::connect(http).is_err());
    assert!(said().contains("is cut off"), "{}", said());
}

#[test]
fn every_outage_is_caused_by_a_test_that_is_there() {
    let page = fs::read_to_string(shipped("docs/outages.md")).unwrap();
    let named: Vec<_> = page.split('`').filter_map(|quoted| quoted.split_once("::")).collect();
    assert!(named.len() > 15, "{named:?}");
    for (place, test) in named.into_iter().filter(|(_, test)| !test.starts_with('…')) {
        let files = match place {
            "file" => continue,
            "store" => vec!["store/src/db/tests.rs".to_owned(), "store/tests/it/killed.rs".to_owned()],
            "limiter" => vec!["gateway/src/limiter/tests/frozen.rs".to_owned()],
            _ => vec![format!("gateway/tests/door/{place}.rs")],
        };
        let text: String = files.iter().filter_map(|file| fs::read_to_string(shipped(file)).ok()).collect();
        assert!(text.contains(&format!("fn {test}(")), "{place}::{test} is not in {files:?}");
    }
}
