//! `[shared]`: the Redis that gateways on one database share, and what becomes of limits without it.

/// `[shared]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Shared {
    /// None: each gateway counts by itself.
    pub redis: Option<SharedRedis>,
    /// What the names of channels and keys begin with.
    pub prefix: String,
    /// What becomes of limits while it is away.
    pub outage: Outage,
    /// How many gateways share, if that is said.
    pub nodes: Option<u32>,
}

/// A Redis in one of its shapes.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedRedis {
    /// Addresses, which the parser has read already.
    pub servers: RedisServers,
    /// Who may have signed the certificates of servers and Sentinels, in PEM; the system's own authorities if not given.
    pub authorities: Option<Vec<u8>>,
}

/// Where a Redis is.
#[derive(Clone, PartialEq, Eq)]
pub enum RedisServers {
    /// There is one server.
    One(String),
    /// Sentinels know where the master is.
    Master {
        /// How to speak to it. The host is the name that the Sentinels know it by.
        server: String,
        /// Any of them will do.
        sentinels: Vec<String>,
    },
    /// These nodes know all the others.
    Cluster(Vec<String>),
}

/// What becomes of limits on requests while Redis is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outage {
    /// Nothing is let through that is not in hand.
    Refuse,
    /// Each gateway lets through its share.
    Local {
        /// Of so many.
        nodes: u32,
    },
}
