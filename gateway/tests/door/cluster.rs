//! What several gateways stand on together: a Redis of the test's own, and what makes a gateway a member.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::{
    database::Database,
    platform::{Setup, eventually},
};

/// The same on every node, as it has to be.
const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A Redis of the test's own, which it may freeze and kill.
pub(crate) struct Redis {
    server: Child,
    pub(crate) port: u16,
    more: Vec<String>,
    /// A replica leaves what it was sent in a file, which the next server in the same folder would read.
    folder: TempDir,
}

// === impl Redis ===

impl Redis {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(more: &[&str]) -> Self {
        let port = free_port();
        let more: Vec<_> = more.iter().map(|&more| more.to_owned()).collect();
        let folder = tempfile::tempdir().unwrap();
        Self { server: serve(port, folder.path(), &more), port, more, folder }
    }

    /// Serves again, and remembers nothing but a snapshot, if one was taken.
    pub(crate) fn serve(&mut self) {
        self.server = serve(self.port, self.folder.path(), &self.more);
    }

    /// What `redis-cli` answers.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        let done = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output().unwrap();
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// Units that stand in the ledgers of all callers.
    pub(crate) fn spent(&self) -> u32 {
        let keys = self.run(&["keys", "portcullis:*:p*"]);
        let fields = keys.lines().map(|key| self.run(&["hgetall", key]));
        let sum = |text: String| {
            let lines: Vec<_> = text.lines().collect();
            let units = lines.chunks(2).filter(|pair| !pair[0].starts_with('n'));
            units.map(|pair| pair[1].parse::<u32>().unwrap()).sum::<u32>()
        };
        fields.map(sum).sum()
    }

    /// Makes its memory one that has been there for ever, once it answers: limits are lent at once.
    pub(crate) fn is_old(&self) {
        self.is_old_to("portcullis");
    }

    /// The same for gateways whose keys begin otherwise.
    pub(crate) fn is_old_to(&self, prefix: &str) {
        eventually("Redis to answer", || self.run(&["ping"]) == "PONG");
        let marks: Vec<_> = (0..255).flat_map(|tag| [format!("{prefix}:{{{tag}}}:mark"), "1:1".to_owned()]).collect();
        let words: Vec<_> = ["mset"].into_iter().chain(marks.iter().map(String::as_str)).collect();
        assert_eq!(self.run(&words), "OK");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.server.id().to_string()]).status().unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

/// An address, and what keeps the system from giving it to anybody who asks for any, while no server of ours is there. Whoever asks for
/// this one gets it.
pub(crate) fn kept() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// One for servers that cannot choose by themselves, and come back to where they were: nobody else is given it for as long as this process
/// lives, which is as long as the test.
pub(crate) fn free_port() -> u16 {
    let (held, address) = kept();
    std::mem::forget(held);
    address.port()
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

fn serve(port: u16, folder: &Path, more: &[String]) -> Child {
    Command::new("redis-server")
        .arg("--dir")
        .arg(folder)
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
        .args(more)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A gateway of a group. What becomes of limits while Redis is away it has still to be told.
pub(crate) fn member(database: &Database, redis: &Redis) -> Setup {
    member_at(database, &redis.url())
}

/// The same where a Redis is not one of the test's own servers, or more than one.
pub(crate) fn member_at(database: &Database, url: &str) -> Setup {
    neighbour(database).env("REDIS_URL", url).edit("gateway.toml", "# redis = { env", "redis = { env")
}

/// A gateway that has the database in common with others, and no Redis.
pub(crate) fn neighbour(database: &Database) -> Setup {
    let setup = Setup::default().env("DATABASE_URL", &database.url).env("MASTER_ENCRYPTION_KEY", MASTER_KEY);
    setup.edit("routes.toml", "30/minute", "1000/minute")
}
