//! How the Redis that gateways share is reached: one server, the one that Sentinels call the master, or all masters of a Cluster.
//!
//! Where it is now is found out whenever a connection is made, so that a failover needs no restart. Nothing is sent twice by itself:
//! a command whose answer was lost may have been carried out, and units that are given back twice would be counted less. That is why
//! this is not the cluster client of the `redis` crate, which tries again. Whose connection it is decides how often it tries.

use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    ServerErrorKind, TlsCertificates, Value, aio::MultiplexedConnection,
};
use tokio::time::timeout;

use crate::config::{RedisServers, SharedRedis};

/// How long one server may take to be connected to.
pub(crate) const CONNECT: Duration = Duration::from_millis(500);
/// No answer is of use after a lease's longest life.
pub(crate) const LATEST: Duration = Duration::from_secs(1);
/// Hash tags: many more than a cluster has nodes, few enough to look at each mark when a connection is made.
pub(crate) const TAGS: u8 = 255;
/// The first whose scripts may write after they have asked for the time: it replicates what they did, not what they said.
const OLDEST: u32 = 5;
/// Of a Redis Cluster.
const SLOTS: u16 = 16_384;

/// Where to look for it.
pub(crate) enum Way {
    Server(ConnectionInfo),
    Master { name: String, server: ConnectionInfo, sentinels: Vec<ConnectionInfo> },
    Cluster(Vec<ConnectionInfo>),
}

/// Connections to every server that keeps ledgers.
pub(crate) struct Line {
    servers: Vec<MultiplexedConnection>,
    /// Whose memory each of them has.
    runs: Vec<Run>,
    /// By hash tag.
    homes: Vec<usize>,
}

/// A process of a Redis: when it is started again it is another one, whose memory is as old as the file that it has read.
#[derive(Clone)]
pub(crate) struct Run {
    /// Where it is. One that is found by its name is always in the same place.
    pub(crate) place: String,
    /// Empty if it does not tell.
    pub(crate) id: String,
}

/// A Redis that will do.
type Found = (Client, MultiplexedConnection, Run);

/// Slots, from the first to the last, and the master that serves them.
struct Range {
    first: u16,
    last: u16,
    at: ConnectionAddr,
}

// === impl Way ===

impl Way {
    /// What is wrong is said without the addresses, which may hold passwords.
    pub(crate) fn new(redis: &SharedRedis) -> Result<Self, String> {
        let ca = redis.authorities.as_deref();
        let all = |urls: &[String]| urls.iter().map(|url| read(url, ca)).collect::<Result<Vec<_>, _>>();
        let way = match &redis.servers {
            RedisServers::One(url) => Self::Server(read(url, ca)?),
            RedisServers::Cluster(urls) => Self::Cluster(all(urls)?),
            RedisServers::Master { server, sentinels } => {
                let server = read(server, ca)?;
                let (ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. }) = server.addr() else {
                    return Err("with Sentinels a Redis is \"redis://user:password@name-of-the-master/0\"".to_owned());
                };
                Self::Master { name: name.clone(), sentinels: all(sentinels)?, server }
            }
        };
        let is_tls = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let with_tls = match &way {
            Self::Server(info) => is_tls(info),
            Self::Master { server, sentinels, .. } => is_tls(server) || sentinels.iter().any(is_tls),
            Self::Cluster(nodes) => nodes.iter().all(is_tls),
        };
        if ca.is_some() && !with_tls { Err("`redis_ca` is for \"rediss://…\"".to_owned()) } else { Ok(way) }
    }

    /// Connects to every server that keeps ledgers.
    pub(crate) async fn line(&self) -> Result<Line, String> {
        let (client, mut server, run) = self.found().await?;
        let Self::Cluster(_) = self else {
            return Ok(Line { servers: vec![server], runs: vec![run], homes: vec![0; usize::from(TAGS)] });
        };
        let asked = client.get_connection_info();
        let slots: Result<Vec<_>, _> = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut server).await;
        let ranges = ranges(&slots.map_err(|error| why(&error))?, asked.addr())?;
        let mut masters: Vec<ConnectionAddr> = Vec::new();
        let mut homes = Vec::new();
        for slot in (0..TAGS).map(|tag| slot(&tag.to_string())) {
            let range = ranges.iter().find(|range| (range.first..=range.last).contains(&slot));
            let at = &range.ok_or_else(|| format!("no node of the Redis Cluster serves slot {slot}"))?.at;
            homes.push(masters.iter().position(|master| master == at).unwrap_or(masters.len()));
            if homes.last() == Some(&masters.len()) {
                masters.push(at.clone());
            }
        }
        let found = masters.into_iter().map(async |at| self.checked(&asked.clone().set_addr(at)).await);
        let found = try_join_all(found).await?.into_iter();
        let (servers, runs) = found.map(|(_, connection, run)| (connection, run)).unzip();
        Ok(Line { servers, runs, homes })
    }

    /// Connects to one that passes messages on to all.
    pub(crate) async fn server(&self) -> Result<(Client, MultiplexedConnection), String> {
        self.found().await.map(|(client, connection, _)| (client, connection))
    }

    async fn found(&self) -> Result<Found, String> {
        let nodes = match self {
            Self::Server(info) => std::slice::from_ref(info),
            Self::Master { name, server, sentinels } => {
                let (host, port) = master(name, sentinels).await?;
                return self.checked(&server.clone().set_addr(moved(server.addr(), host, port))).await;
            }
            Self::Cluster(nodes) => nodes,
        };
        let mut last = String::new();
        for node in shuffled(nodes) {
            match self.checked(node).await {
                Ok(found) => return Ok(found),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Connects, if that is a Redis that will do.
    async fn checked(&self, info: &ConnectionInfo) -> Result<Found, String> {
        let (client, mut connection) = open(info).await?;
        let ask = redis::cmd("INFO").arg("server").to_owned();
        let told = timeout(CONNECT, ask.query_async::<String>(&mut connection)).await;
        let told = told.map_err(|_| format!("{}: no answer within {CONNECT:?}", info.addr()))?;
        let run = told.map_err(|error| why(&error)).and_then(|told| fits(&told, matches!(self, Self::Cluster(_))));
        let id = run.map_err(|why| format!("{}: {why}", info.addr()))?;
        let place = if let Self::Server(_) = self { "server".to_owned() } else { info.addr().to_string() };
        Ok((client, connection, Run { place, id }))
    }
}

// === impl Line ===

impl Line {
    /// To where the keys with this hash tag are.
    pub(crate) fn to(&self, tag: u8) -> MultiplexedConnection {
        self.servers[self.homes[usize::from(tag)]].clone()
    }

    /// Which process has the memory of this hash tag.
    pub(crate) fn run(&self, tag: u8) -> &Run {
        &self.runs[self.homes[usize::from(tag)]]
    }

    /// One hash tag of each server.
    pub(crate) fn samples(&self) -> Vec<u8> {
        let first = |server| self.homes.iter().position(|home| *home == server);
        (0..self.servers.len()).filter_map(first).filter_map(|tag| u8::try_from(tag).ok()).collect()
    }
}

/// What an error means to an operator. Nothing of an address is in it.
pub(crate) fn why(error: &RedisError) -> String {
    let text = error.to_string();
    // Of what a script does, Redis says so in words alone.
    let in_script = text.contains("user executing the script can't");
    match error.kind() {
        ErrorKind::Parse => format!("what answers is no Redis: {text}"),
        ErrorKind::AuthenticationFailed => format!("Redis refuses this user or password: {text}"),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => format!("this is a replica, not a master: {text}"),
        ErrorKind::Server(ServerErrorKind::NoPerm) => format!("the ACL of this user lacks a right: {text}"),
        _ if in_script => format!("the ACL of this user lacks a right: {text}"),
        _ => text,
    }
}

/// Asks one Sentinel after the other.
async fn master(name: &str, sentinels: &[ConnectionInfo]) -> Result<(String, u16), String> {
    let mut last = String::new();
    for sentinel in shuffled(sentinels) {
        let found = async {
            let (_, mut connection) = open(sentinel).await?;
            let ask = redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name).to_owned();
            let found = timeout(CONNECT, ask.query_async::<Option<(String, u16)>>(&mut connection)).await;
            let found = found.map_err(|_| format!("no answer within {CONNECT:?}"))?.map_err(|error| why(&error))?;
            found.ok_or_else(|| format!("this Sentinel knows no master called `{name}`"))
        };
        match found.await {
            Ok(found) => return Ok(found),
            Err(why) => last = format!("Sentinel {}: {why}", sentinel.addr()),
        }
    }
    Err(last)
}

async fn open(info: &ConnectionInfo) -> Result<(Client, MultiplexedConnection), String> {
    let client = Client::open(info.clone()).map_err(|error| why(&error))?;
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(Some(LATEST));
    let connection = timeout(CONNECT, client.get_multiplexed_async_connection_with_config(&config)).await;
    let connection = connection
        .map_err(|_| format!("{}: no connection within {CONNECT:?}", info.addr()))?
        .map_err(|error| format!("{}: {}", info.addr(), why(&error)))?;
    Ok((client, connection))
}

/// An address, with what it takes to trust who is there. Messages are a few bytes, and must not wait for more.
fn read(url: &str, authorities: Option<&[u8]>) -> Result<ConnectionInfo, String> {
    let wrong = |_| "a Redis is \"redis://user:password@host:6379/0\", or \"rediss://…\" with TLS".to_owned();
    let info = url.into_connection_info().map_err(wrong)?;
    let settings = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_tcp_settings(settings);
    match (info.addr(), authorities) {
        (ConnectionAddr::TcpTls { .. }, Some(pem)) => {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
            Ok(Client::build_with_tls(info, certificates).map_err(wrong)?.get_connection_info().clone())
        }
        _ => Client::open(info.clone()).map(|_| info).map_err(wrong),
    }
}

/// Another place, spoken to in the same way.
fn moved(from: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match from {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

/// One that is frozen or alone with an old opinion must not be asked first every time.
fn shuffled(among: &[ConnectionInfo]) -> Vec<&ConnectionInfo> {
    let mut shuffled: Vec<_> = among.iter().collect();
    fastrand::shuffle(&mut shuffled);
    shuffled
}

/// Whether a server's words about itself (`INFO server`) are those of a Redis that will do, and which process it is.
fn fits(told: &str, is_cluster: bool) -> Result<String, String> {
    let value = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let version = value("redis_version").ok_or("what answers is no Redis: it tells no version")?;
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    if major < OLDEST {
        return Err(format!("Redis {version} is too old: {OLDEST}.0 is the first that can count for others"));
    }
    match (value("redis_mode"), is_cluster) {
        (Some("sentinel"), _) => Err("this is a Sentinel: name it under `sentinels`".to_owned()),
        (Some("cluster"), false) => Err("this is a node of a Redis Cluster: say `cluster = true`".to_owned()),
        (Some("standalone"), true) => Err("this is no node of a Redis Cluster, though `cluster = true`".to_owned()),
        _ => Ok(value("run_id").unwrap_or_default().to_owned()),
    }
}

/// The answer to `CLUSTER SLOTS`. A node that does not know its own address leaves it out.
fn ranges(slots: &[Vec<Value>], asked: &ConnectionAddr) -> Result<Vec<Range>, String> {
    let number = |value: &Value| match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    };
    let range = |row: &Vec<Value>| {
        let [first, last, Value::Array(master), ..] = row.as_slice() else { return None };
        let [host, port, ..] = master.as_slice() else { return None };
        let host = match (host, asked) {
            (Value::BulkString(host), _) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
            (_, ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) => host.clone(),
            _ => return None,
        };
        Some(Range { first: number(first)?, last: number(last)?, at: moved(asked, host, number(port)?) })
    };
    let ranges: Option<_> = slots.iter().map(range).collect();
    ranges.ok_or_else(|| "what answers to CLUSTER SLOTS is no Redis Cluster".to_owned())
}

/// Where a Redis Cluster keeps keys with a hash tag: CRC-16/XMODEM of it, modulo the number of slots.
fn slot(tag: &str) -> u16 {
    let shift = |sum: u16| if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 };
    let add = |sum: u16, byte: u8| (0..8).fold(sum ^ (u16::from(byte) << 8), |sum, _| shift(sum));
    tag.bytes().fold(0, add) % SLOTS
}

#[cfg(test)]
mod tests;
