//! The DNS hook: names become addresses here and nowhere else, and pass the egress guard here,
//! so that what was checked is what is connected to.

mod single_flight;
mod system;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    net::NetError,
    proto::{
        ProtoError,
        rr::{Name, RecordType},
    },
};

use crate::{EgressPolicy, LocalFault, Refusal, failure::local_fault};
use single_flight::SingleFlight;
use system::System;

/// Bound of one resolution, all servers and retries included: leaves half of the connect
/// time-out to the connection.
const DNS_TIMEOUT: Duration = Duration::from_millis(2_500);
/// Wait for any word of the name servers, after they had none for a name.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a name has no address. Cloned to everybody who waited for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DnsError {
    #[error("name {0} does not exist or has no address")]
    NotFound(String),
    #[error(
        "time-out after {DNS_TIMEOUT:?} resolving {0}; the name servers answer, but not for it"
    )]
    TimedOut(String),
    #[error("name {0} cannot be resolved: {1}")]
    Failed(String, String),
    /// Whatever the name.
    #[error("name {0} cannot be resolved: {fault}", fault = LocalFault::Resolver)]
    Unanswered(String),
    #[error("name {0} cannot be resolved: {1}")]
    Local(String, LocalFault),
}

/// Why a name leads nowhere.
#[derive(Debug)]
pub(crate) enum ResolveError {
    /// To where nothing may go.
    Refused(Refusal),
    Dns(DnsError),
}

/// Why a name cannot be delivered to at present.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It has no address, or nobody could say.
    #[error("{0}")]
    Unresolved(String),
    /// The egress guard refuses it or every address that it has.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

type Answer = Result<Arc<[IpAddr]>, DnsError>;

/// Resolves names through the system's configuration, each host once at a time.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    policy: Arc<EgressPolicy>,
    system: Arc<Mutex<System>>,
    lookups: Arc<SingleFlight<Answer>>,
    controls: Arc<SingleFlight<bool>>,
}

impl GuardedResolver {
    pub(crate) fn new(policy: EgressPolicy, name_servers: Vec<SocketAddr>) -> Self {
        Self {
            policy: Arc::new(policy),
            system: Arc::new(Mutex::new(System::new(name_servers))),
            lookups: Arc::new(SingleFlight::new()),
            controls: Arc::new(SingleFlight::new()),
        }
    }

    /// Whether a name can be delivered to at present.
    pub(crate) async fn check(&self, name: &str) -> Result<(), HostError> {
        match self.permitted(name).await {
            Ok(_) => Ok(()),
            Err(ResolveError::Refused(refusal)) => Err(HostError::Refused(refusal)),
            Err(ResolveError::Dns(error)) => Err(HostError::Unresolved(error.to_string())),
        }
    }

    /// The addresses of a name that may be connected to; at least one.
    pub(crate) async fn permitted(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let refused = ResolveError::Refused;
        self.policy.check_name(name).map_err(refused)?;
        let start = || look_up(self.clone(), name.to_owned());
        let addrs = self.lookups.join(name, start).await;
        let addrs = addrs.map_err(ResolveError::Dns)?;
        self.policy.permitted(name, &addrs).map_err(refused)
    }

    /// Whether the name servers say anything at all: asked for the root's, they need not know more
    /// than that they are there. Takes [`CONTROL_TIMEOUT`] at most.
    pub(crate) async fn answers(&self) -> bool {
        let system = Arc::clone(&self.system);
        self.controls.join(".", || control(system)).await
    }
}

async fn control(system: Arc<Mutex<System>>) -> bool {
    let Ok(resolver) = resolver(&system) else {
        return false;
    };
    let root = Name::root();
    // What they said before they fell silent does not count.
    resolver.clear_lookup_cache(root.clone(), RecordType::NS);
    let asked = resolver.lookup(root, RecordType::NS);
    matches!(
        tokio::time::timeout(CONTROL_TIMEOUT, asked).await,
        Ok(Ok(_) | Err(NetError::Dns(_)))
    )
}

fn resolver(system: &Mutex<System>) -> Result<TokioResolver, NetError> {
    let mut system = system.lock().unwrap_or_else(PoisonError::into_inner);
    system.resolver()
}

async fn look_up(resolver: GuardedResolver, name: String) -> Answer {
    let system = match self::resolver(&resolver.system) {
        Ok(system) => system,
        Err(error) => return Err(told(name, &error)),
    };
    let Ok(query) = plain_name(&name) else {
        return Err(DnsError::NotFound(name));
    };
    let error = match tokio::time::timeout(DNS_TIMEOUT, system.lookup_ip(query)).await {
        Ok(Ok(answer)) => {
            let addrs: Arc<[IpAddr]> = answer.iter().collect();
            return if addrs.is_empty() {
                Err(DnsError::NotFound(name))
            } else {
                Ok(addrs)
            };
        }
        Ok(Err(error)) => error,
        Err(_) => NetError::Timeout,
    };
    if matches!(error, NetError::Dns(_)) || local(&error).is_some() {
        Err(told(name, &error))
    } else if !resolver.answers().await {
        Err(DnsError::Unanswered(name))
    } else if matches!(error, NetError::Timeout) {
        Err(DnsError::TimedOut(name))
    } else {
        Err(told(name, &error))
    }
}

/// Any name that DNS can hold: labels as they are, by none of the rules that IDNA has for host
/// names. Compose services are called `my_receiver`.
fn plain_name(name: &str) -> Result<Name, ProtoError> {
    let (labels, is_absolute) = match name.strip_suffix('.') {
        Some(labels) => (labels, true),
        None => (name, false),
    };
    let mut plain = Name::from_labels(labels.split('.').map(str::as_bytes))?;
    // Others are looked for in the search domains as well.
    plain.set_fqdn(is_absolute);
    Ok(plain)
}

fn told(name: String, error: &NetError) -> DnsError {
    match local(error) {
        Some(fault) => DnsError::Local(name, fault),
        None if error.is_no_records_found() => DnsError::NotFound(name),
        None => DnsError::Failed(name, error.to_string()),
    }
}

fn local(error: &NetError) -> Option<LocalFault> {
    match error {
        NetError::Io(error) => local_fault(error),
        _ => None,
    }
}
