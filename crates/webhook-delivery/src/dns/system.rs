//! The resolver, as the system's files or the client's settings describe it.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use tokio::time::Instant;

use crate::failure::local_fault;

/// Wait for one answer of one server, so that a second try fits into a resolution's bound.
const QUERY_TIMEOUT: Duration = Duration::from_secs(1);
/// Further tries after a lost query.
const QUERY_RETRIES: usize = 1;
/// Longest trust in an answer, whatever its TTL: receivers move.
const MAX_TTL: Duration = Duration::from_secs(60);
/// Longest memory of a name that did not exist: receivers appear.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// Answers kept: well above the receivers of one process.
const CACHE_SIZE: u64 = 4096;
/// How often the system's files are looked at: a service started before the network must see
/// the name servers once they are there.
const FILES_CHECK: Duration = Duration::from_secs(5);
/// What decides about names on this machine.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

type Stamps = [Option<SystemTime>; FILES.len()];

/// A resolver that follows the system's files, or asks given servers only.
pub(super) struct System {
    servers: Vec<SocketAddr>,
    built: Option<Built>,
}

struct Built {
    resolver: TokioResolver,
    stamps: Stamps,
    checked: Instant,
}

impl System {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            built: None,
        }
    }

    /// The resolver of the moment.
    pub(super) fn resolver(&mut self) -> Result<TokioResolver, NetError> {
        if let Some(built) = &mut self.built {
            if built.checked.elapsed() < FILES_CHECK {
                return Ok(built.resolver.clone());
            }
            built.checked = Instant::now();
            if built.stamps == stamps() {
                return Ok(built.resolver.clone());
            }
        }
        // Taken before the files are read, so that a change meanwhile is seen next time.
        let stamps = stamps();
        let resolver = build(&self.servers)?;
        self.built = Some(Built {
            resolver: resolver.clone(),
            stamps,
            checked: Instant::now(),
        });
        Ok(resolver)
    }
}

fn stamps() -> Stamps {
    FILES.map(|path| {
        std::fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
    })
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let given = |servers: Vec<NameServerConfig>| {
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        TokioResolver::builder_with_config(config, provider.clone())
    };
    // Opening the files anew tells a machine without them from a process without descriptors.
    for path in FILES {
        if let Err(error) = File::open(path)
            && local_fault(&error).is_some()
        {
            return Err(error.into());
        }
    }
    let mut builder =
        if servers.is_empty() {
            TokioResolver::builder(provider.clone()).unwrap_or_else(|error| {
            tracing::warn!(%error, "no name servers configured; asking 127.0.0.1 as glibc does");
            given(vec![NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into())])
        })
        } else {
            given(servers.iter().map(name_server).collect())
        };
    let options = builder.options_mut();
    options.timeout = QUERY_TIMEOUT;
    options.attempts = QUERY_RETRIES;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = CACHE_SIZE;
    options.positive_max_ttl = Some(MAX_TTL);
    options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
    builder.build()
}

fn name_server(addr: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = addr.port();
        connection
    });
    NameServerConfig::new(addr.ip(), true, connections.into())
}
