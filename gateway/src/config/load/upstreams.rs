//! The section `[upstreams]`: named pools of servers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Reader;
use crate::{
    config::{IdentityHeader, UpstreamSettings, raw},
    snapshot::ADMIN_API,
};

impl Reader<'_, '_> {
    pub(super) fn upstreams(&mut self) -> BTreeMap<String, UpstreamSettings> {
        let mut upstreams = BTreeMap::new();
        for entry in self.document.entries::<raw::Upstream>("upstreams") {
            if *entry.name == ADMIN_API {
                self.document.note(
                    entry.name.span(),
                    format!("`{ADMIN_API}` is our own account service and cannot be configured"),
                );
            }
            let settings = entry.value.map(|raw| self.upstream(raw));
            // One that cannot be read still exists, or every route that names it would be wrong too.
            upstreams.insert(entry.name.into_inner(), settings.unwrap_or_else(UpstreamSettings::shipped));
        }
        upstreams
    }

    fn upstream(&mut self, raw: raw::Upstream) -> UpstreamSettings {
        if raw.servers.is_empty() {
            self.document.note(raw.servers.span(), "an upstream needs a server");
        }
        let mut servers = Vec::new();
        for given in raw.servers.iter() {
            let Some(server) = self.document.resolve(given, self.folder) else { continue };
            if !server
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
            {
                self.document.note(given.span(), format!("\"{server}\" is not a server: write host:port"));
            }
            servers.push(server);
        }
        let shipped = UpstreamSettings::shipped();
        UpstreamSettings {
            servers,
            connect_timeout: self.duration(raw.connect_timeout.as_ref(), shipped.connect_timeout.as_secs()),
            response_timeout: self.duration(raw.response_timeout.as_ref(), shipped.response_timeout.as_secs()),
            idle_timeout: self.duration(raw.idle_timeout.as_ref(), shipped.idle_timeout.as_secs()),
            headers: raw.headers.map_or(shipped.headers, Into::into),
        }
    }
}

impl UpstreamSettings {
    /// What an upstream is when it says no more than its servers.
    pub(crate) fn shipped() -> Self {
        Self {
            servers: Vec::new(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_mins(1),
            headers: IdentityHeader::DEFAULT.into(),
        }
    }
}
