//! Servers that a test may break: a Postgres of its own, and a pooler or a link that can be cut before one.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{cluster::free_port, database::Database, platform::eventually};

/// The database that each has, and the role that owns it.
const NAME: &str = "gateway";

/// A Postgres of the test's own, which it may freeze and stop.
pub(crate) struct Postgres {
    server: Child,
    port: u16,
    folder: TempDir,
}

/// A PgBouncer that lends its connections for one transaction.
pub(crate) struct Pooler {
    server: Child,
    _folder: TempDir,
}

/// A link to a database that the test can cut.
pub(crate) struct Link(Arc<AtomicBool>);

// === impl Postgres ===

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// `settings` are lines of its configuration; names in them are relative to its data.
    pub(crate) fn with(settings: &str) -> Self {
        let folder = open_folder();
        let data = folder.path().join("data");
        let made = as_postgres(&binaries().join("initdb"))
            .args(["-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let port = free_port();
        let own = format!("listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nfsync = off\n");
        fs::write(data.join("postgresql.auto.conf"), own + settings).unwrap();
        let postgres = Self { server: serve(&data), port, folder };
        postgres.answers();
        Database::make(&postgres.admin(), NAME);
        postgres
    }

    pub(crate) fn database(&self) -> Database {
        Database::named(&self.admin(), NAME)
    }

    /// As who administers it.
    pub(crate) fn admin(&self) -> String {
        format!("postgres://tester@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Stops every process of it where it is: nothing is closed, and nobody answers.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Ends it; connections are closed and new ones refused.
    pub(crate) fn stop(&mut self) {
        assert!(Command::new("kill").args(["-INT", &self.server.id().to_string()]).status().unwrap().success());
        self.server.wait().unwrap();
    }

    /// Serves again, with everything that it has kept.
    pub(crate) fn serve(&mut self) {
        self.server = serve(&self.data());
        self.answers();
    }

    /// One that follows this one, and may be asked but not told anything.
    pub(crate) fn standby(&self) -> Self {
        let (folder, port) = (open_folder(), free_port());
        let data = folder.path().join("data");
        let copied = as_postgres(&binaries().join("pg_basebackup"))
            .args(["-h", "127.0.0.1", "-U", "tester", "-R", "-X", "stream", "-c", "fast", "--no-sync"])
            .args(["-p", &self.port.to_string(), "-D"])
            .arg(&data)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(copied.status.success(), "{copied:?}");
        listen_on(&data, port);
        let standby = Self { server: serve(&data), port, folder };
        standby.answers();
        standby
    }

    /// Waits until a standby has everything.
    pub(crate) fn is_followed(&self) {
        let behind = "SELECT COUNT(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()";
        eventually("the standby to catch up", || self.database().administer(behind) == "1");
    }

    /// Answers at the address of one that is gone, but takes nothing yet.
    pub(crate) fn stand_in_for(&mut self, gone: &Self) {
        if self.server.try_wait().unwrap().is_none() {
            self.stop();
        }
        self.port = gone.port;
        listen_on(&self.data(), self.port);
        self.serve();
    }

    pub(crate) fn promote(&self) {
        assert_eq!(self.database().administer("SELECT pg_promote()"), "t");
    }

    fn answers(&self) {
        let ready = binaries().join("pg_isready");
        let port = self.port.to_string();
        eventually("Postgres to answer", || {
            Command::new(&ready).args(["-q", "-h", "127.0.0.1", "-p", &port]).status().unwrap().success()
        });
    }

    /// The first process goes first: while it is stopped it makes no others.
    fn signal(&self, name: &str) {
        let first = self.server.id().to_string();
        drop(Command::new("kill").args([name, &first]).status());
        let others = Command::new("ps").args(["-o", "pid=", "--ppid", &first]).output().unwrap();
        for other in String::from_utf8_lossy(&others.stdout).split_whitespace() {
            drop(Command::new("kill").args([name, other]).stderr(Stdio::null()).status());
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.server.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.thaw();
            drop(Command::new("kill").args(["-QUIT", &self.server.id().to_string()]).status());
            drop(self.server.wait());
        }
    }
}

/// The last word counts.
fn listen_on(data: &Path, port: u16) {
    let settings = data.join("postgresql.auto.conf");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(settings, format!("{text}port = {port}\n")).unwrap();
}

fn serve(data: &Path) -> Child {
    let mut postgres = as_postgres(&binaries().join("postgres"));
    postgres.arg("-D").arg(data).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn binaries() -> PathBuf {
    let mut versions: Vec<_> =
        fs::read_dir("/usr/lib/postgresql").unwrap().map(|version| version.unwrap().path().join("bin")).collect();
    versions.sort();
    versions.pop().expect("Postgres: scripts/install-deps test")
}

// === impl Pooler ===

impl Pooler {
    /// Starts one before a database; gives the address behind which it stands.
    pub(crate) fn before(database: &Database) -> (Self, String) {
        let (server, name) = database.url.strip_prefix("postgres://").unwrap().split_once('/').unwrap();
        let (user, address) = server.split_once('@').unwrap();
        let (host, server_port) = address.split_once(':').unwrap();
        let (folder, port) = (open_folder(), free_port());
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={host} port={server_port} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\nmin_pool_size = 5\n\
             server_round_robin = 1\n"
        );
        fs::write(&file, text).unwrap();
        let mut command = as_postgres(Path::new("pgbouncer"));
        let server = command.arg("-q").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("PgBouncer to answer", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        (Self { server, _folder: folder }, format!("postgres://{user}@127.0.0.1:{port}/{name}"))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

// === impl Link ===

impl Link {
    /// Makes one before a database; gives that database as it is seen through the link.
    pub(crate) fn before(database: &Database) -> (Self, Database) {
        let (start, rest) = database.url.rsplit_once('@').unwrap();
        let (server, name) = rest.split_once('/').unwrap();
        let target: SocketAddr = server.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{start}@{}/{name}", listener.local_addr().unwrap());
        let cut = Arc::new(AtomicBool::new(false));
        let severed = Arc::clone(&cut);
        thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                if severed.load(Ordering::SeqCst) {
                    continue;
                }
                let far = TcpStream::connect(target).unwrap();
                for (from, to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                    let severed = Arc::clone(&severed);
                    thread::spawn(move || carry(from, to, &severed));
                }
            }
        });
        (Self(cut), Database { url, admin: database.admin.clone() })
    }

    /// Ends what goes over it, and lets nothing through.
    pub(crate) fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// One direction of a connection, until either side or the test ends it.
fn carry(mut from: TcpStream, mut to: TcpStream, severed: &AtomicBool) {
    from.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut buffer = vec![0; 65536];
    while !severed.load(Ordering::SeqCst) {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                if to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    drop(to.shutdown(std::net::Shutdown::Both));
}

/// Neither server runs as root; the package of Postgres has made it a user.
fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

/// A folder in which such a server may write.
fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    if is_root() {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap().success());
    }
    folder
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
