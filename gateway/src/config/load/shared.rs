//! The section `[shared]`.

use policies::config::{Placed, Value};

use super::Reader;
use crate::{
    config::{Outage, RedisServers, Shared, SharedRedis, raw},
    redis_line::Way,
};

impl Reader<'_, '_> {
    pub(super) fn shared(&mut self) -> Shared {
        let raw: raw::Shared = self.document.section("shared").unwrap_or_default();
        let redis = self.redis(&raw);
        self.refuse_password(raw.redis.as_ref());
        self.refuse_password(raw.sentinels.as_ref());
        if let (Some(given), None) = (&raw.redis, &raw.on_outage) {
            self.document.note(
                given.span(),
                "`on_outage` is missing: \"local\" or \"refuse\", for requests under limits while this Redis is away",
            );
        }
        let nodes = u32::try_from(self.count(raw.nodes.as_ref(), 1, 1)).unwrap_or(u32::MAX);
        let outage = self.outage(&raw, nodes);
        let nodes = raw.nodes.is_some().then_some(nodes);
        Shared { redis, prefix: self.prefix(raw.prefix.as_ref()), outage, nodes }
    }

    fn redis(&mut self, raw: &raw::Shared) -> Option<SharedRedis> {
        let authorities =
            self.pem(raw.redis_ca.as_ref(), |pem| super::upstream_tls::authorities(pem).map(|_| pem.to_vec()));
        let sentinels = raw.sentinels.as_ref().map(|given| addresses(&self.text(Some(given), "")));
        let Some(given) = &raw.redis else {
            let old = self.redis_of_old();
            self.refuse_without_redis(raw, old.is_some());
            return old.map(|url| SharedRedis { servers: RedisServers::One(url), authorities: None });
        };
        // If it is not to be had, that has been noted.
        let text = self.document.resolve(given, self.folder)?;
        if sentinels.is_none() && raw.cluster.as_deref() != Some(&true) {
            self.check_redis_of_old(given, &text);
        }
        let servers = match (sentinels, raw.cluster.as_deref()) {
            (None, Some(true)) => RedisServers::Cluster(addresses(&text)),
            (Some(sentinels), cluster) => {
                if let (Some(true), Some(both)) = (cluster, &raw.cluster) {
                    self.document.note(both.span(), "a Redis Cluster has no Sentinels");
                }
                RedisServers::Master { server: text, sentinels }
            }
            (None, _) => RedisServers::One(text),
        };
        let redis = SharedRedis { servers, authorities };
        if let Err(wrong) = Way::new(&redis) {
            self.document.note(given.span(), wrong);
        }
        Some(redis)
    }

    /// Notes what is said of a Redis that there is not. One of `REDIS_HOST` has an outage, too, and no other shape.
    fn refuse_without_redis(&mut self, raw: &raw::Shared, has_old: bool) {
        let shape = [
            raw.sentinels.as_ref().map(Placed::span),
            raw.cluster.as_ref().filter(|given| ***given).map(Placed::span),
            raw.redis_ca.as_ref().map(Placed::span),
        ];
        let outage = [raw.on_outage.as_ref().map(Placed::span), raw.nodes.as_ref().map(Placed::span)];
        for alone in shape.into_iter().chain(outage.into_iter().filter(|_| !has_old)).flatten() {
            self.document.note(alone, "`redis` is missing, which this is about");
        }
    }

    /// An address may come with a password, and then it is a secret as a whole.
    pub(super) fn refuse_password(&mut self, given: Option<&Placed<Value<String>>>) {
        let Some(given) = given else { return };
        let written = match &**given {
            Value::Plain(text) | Value::Env { default: Some(text), .. } => text,
            Value::Env { default: None, .. } | Value::File { .. } => return,
        };
        if holds_password(written) {
            let message =
                "an address with a password is not written in clear; use { env = \"NAME\" } or { file = \"path\" }";
            self.document.note(given.span(), message);
        }
    }

    /// Braces would make a hash tag of their own, and all keys live on one node of a cluster.
    fn prefix(&mut self, given: Option<&Placed<Value<String>>>) -> String {
        let prefix = self.text(given, "portcullis");
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if let Some(given) = given
            && (prefix.is_empty() || !prefix.bytes().all(is_plain))
        {
            self.document.note(given.span(), "a prefix is made of letters, digits and - _ . :");
        }
        prefix
    }

    fn outage(&mut self, raw: &raw::Shared, nodes: u32) -> Outage {
        match &raw.on_outage {
            Some(given) if matches!(**given, raw::OnOutage::Local) => {
                if raw.nodes.is_none() {
                    self.document
                        .note(given.span(), "`nodes` is missing: each gateway lets through its part of so many");
                }
                Outage::Local { nodes }
            }
            _ => Outage::Refuse,
        }
    }
}

/// Is there a password in an address, or in one of several: `scheme://user:password@host`, or `?password=`?
fn holds_password(text: &str) -> bool {
    let is_said = |address: &str| {
        let before_path = address.split(['/', '?']).next().unwrap_or_default();
        before_path.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    };
    text.split("://").skip(1).any(is_said) || text.contains("password=")
}

/// Addresses are separated by commas. A password may have some, too.
fn addresses(text: &str) -> Vec<String> {
    let pieces = text.split(",redis").enumerate();
    pieces.map(|(n, piece)| if n == 0 { piece.to_owned() } else { format!("redis{piece}") }).collect()
}
