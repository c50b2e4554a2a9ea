//! The DNS hook: names become addresses here and nowhere else, and pass the egress guard here,
//! so that what was checked is what is connected to.

mod single_flight;
mod system;
#[cfg(test)]
mod tests;

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_resolver::net::NetError;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::EgressPolicy;
use single_flight::SingleFlight;
use system::System;

/// Bound of one resolution, all servers and retries included: leaves half of the connect
/// time-out to the connection.
const DNS_TIMEOUT: Duration = Duration::from_millis(2_500);
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

type Answer = Result<Arc<[IpAddr]>, DnsError>;

/// Resolves names through the system's configuration, each host once at a time.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    policy: Arc<EgressPolicy>,
    system: Arc<Mutex<System>>,
    lookups: Arc<SingleFlight<Answer>>,
}

impl GuardedResolver {
    pub(crate) fn new(policy: EgressPolicy, name_servers: Vec<SocketAddr>) -> Self {
        Self {
            policy: Arc::new(policy),
            system: Arc::new(Mutex::new(System::new(name_servers))),
            lookups: Arc::new(SingleFlight::new()),
        }
    }

    async fn permitted(self, name: String) -> Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>> {
        self.policy.check_name(&name)?;
        let start = || look_up(Arc::clone(&self.system), name.clone());
        let addrs = self.lookups.join(&name, start).await?;
        Ok(self.policy.permitted(&name, &addrs)?)
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

async fn look_up(system: Arc<Mutex<System>>, name: String) -> Answer {
    let failed = |error: NetError| DnsError::Failed(name.clone(), error.to_string());
    let resolver = system
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .resolver()
        .map_err(failed)?;
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
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(DnsError::TimedOut(name)),
    }
}
