//! The DNS hook: names become addresses here and nowhere else, and pass the egress guard here,
//! so that what was checked is what is connected to.

use std::{
    collections::HashMap,
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::Instant;

use crate::EgressPolicy;

/// Bound of one resolution, all servers and retries included: leaves half of the connect
/// time-out to the connection.
const DNS_TIMEOUT: Duration = Duration::from_millis(2_500);
/// Wait for one answer of one server, so that a second try fits into [`DNS_TIMEOUT`].
const QUERY_TIMEOUT: Duration = Duration::from_secs(1);
/// Further tries after a lost query.
const QUERY_RETRIES: usize = 1;
/// Longest trust in an answer, whatever its TTL: receivers move.
const MAX_TTL: Duration = Duration::from_secs(60);
/// Longest memory of a name that did not exist: receivers appear.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// Answers kept.
const CACHE_SIZE: u64 = 4096;
/// How often the system's files are looked at: a service started before the network must see
/// the name servers once they are there.
const SYSTEM_FILES_CHECK: Duration = Duration::from_secs(5);
/// What decides about names on this machine.
const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Why a name has no address. Cloned to everybody who waited for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DnsError {
    #[error("name {0} does not exist or has no address")]
    NotFound(String),
    #[error("time-out after {DNS_TIMEOUT:?} resolving {0}")]
    TimedOut(String),
    #[error("name {0} cannot be resolved: {1}")]
    Failed(String, String),
}

type Lookup = BoxFuture<'static, Result<Arc<[IpAddr]>, DnsError>>;
type SharedLookup = Shared<Lookup>;

/// Resolves names through the system's configuration, each host once at a time.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    policy: Arc<EgressPolicy>,
    system: Arc<Mutex<System>>,
    running: Arc<Mutex<HashMap<String, WeakShared<Lookup>>>>,
}

impl GuardedResolver {
    pub(crate) fn new(policy: Arc<EgressPolicy>) -> Self {
        Self {
            policy,
            system: Arc::default(),
            running: Arc::default(),
        }
    }

    async fn permitted(self, name: String) -> Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>> {
        self.policy.check_name(&name)?;
        let addrs = self.resolve_once(&name).await?;
        Ok(self.policy.permitted(&name, &addrs)?)
    }

    /// Joins the lookup of this host that is under way, or starts one.
    fn resolve_once(&self, name: &str) -> SharedLookup {
        let mut running = lock(&self.running);
        if let Some(lookup) = running.get(name).and_then(WeakShared::upgrade)
            && lookup.peek().is_none()
        {
            return lookup;
        }
        let lookup = look_up(Arc::clone(&self.system), name.to_owned())
            .boxed()
            .shared();
        // Those that ended or were given up by all who waited.
        running.retain(|_, lookup| lookup.upgrade().is_some_and(|l| l.peek().is_none()));
        if let Some(weak) = lookup.downgrade() {
            running.insert(name.to_owned(), weak);
        }
        lookup
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let permitted = self.clone().permitted(name.as_str().to_owned());
        Box::pin(async move {
            let addrs = permitted.await?.into_iter();
            // Port 0 stands for the URL's.
            let addrs: Addrs = Box::new(addrs.map(|addr| SocketAddr::new(addr, 0)));
            Ok(addrs)
        })
    }
}

async fn look_up(system: Arc<Mutex<System>>, name: String) -> Result<Arc<[IpAddr]>, DnsError> {
    let failed = |reason: String| DnsError::Failed(name.clone(), reason);
    let resolver = lock(&system).resolver().map_err(failed)?;
    match tokio::time::timeout(DNS_TIMEOUT, resolver.lookup_ip(name.as_str())).await {
        Ok(Ok(answer)) => {
            let addrs: Arc<[IpAddr]> = answer.iter().collect();
            if addrs.is_empty() {
                Err(DnsError::NotFound(name))
            } else {
                Ok(addrs)
            }
        }
        Ok(Err(error)) if error.is_no_records_found() => Err(DnsError::NotFound(name)),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(DnsError::TimedOut(name)),
    }
}

/// A resolver as of the system files' last change.
#[derive(Default)]
struct System {
    current: Option<(TokioResolver, [Option<SystemTime>; 2])>,
    checked: Option<Instant>,
}

impl System {
    fn resolver(&mut self) -> Result<TokioResolver, String> {
        let due = |at: Instant| at.elapsed() >= SYSTEM_FILES_CHECK;
        if self.checked.is_none_or(due) {
            self.checked = Some(Instant::now());
            let stamps = SYSTEM_FILES.map(modified);
            if !matches!(&self.current, Some((_, known)) if *known == stamps) {
                self.current = None;
                self.current = Some((build()?, stamps));
            }
        }
        match &self.current {
            Some((resolver, _)) => Ok(resolver.clone()),
            None => {
                self.checked = None;
                Err("no resolver".to_owned())
            }
        }
    }
}

fn modified(path: &str) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|meta| meta.modified())
        .ok()
}

fn build() -> Result<TokioResolver, String> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = TokioResolver::builder(provider.clone()).unwrap_or_else(|error| {
        tracing::warn!(%error, "no name servers configured; asking 127.0.0.1 as glibc does");
        let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![local]);
        TokioResolver::builder_with_config(config, provider)
    });
    let options = builder.options_mut();
    options.timeout = QUERY_TIMEOUT;
    options.attempts = QUERY_RETRIES;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = CACHE_SIZE;
    options.positive_max_ttl = Some(MAX_TTL);
    options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
    builder.build().map_err(|error| error.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
