//! Connections: opened behind the egress guard, kept, and let go of. Knows origins and addresses,
//! neither events nor verdicts.
//!
//! hyper speaks HTTP. The pool is this crate's own because delivering asks what a general client
//! does not offer: that one origin's kept connections can be let go of, that a connection has a
//! greatest age and ends with its name's address, and that all of them together have a bound.

mod dial;
mod header_case;
mod lease;
mod pool;
mod race;
mod socket;
mod status_line;
mod target;

use std::{io, sync::Arc, time::Duration};

use http::Extensions;
use tokio::time::{Instant, timeout};

use crate::{
    DeliveryConfig, LocalFault, Refusal,
    dns::{DnsError, GuardedResolver, ResolveError},
    failure::{Phase, local_fault},
    tls::Tls,
};
pub(crate) use lease::{Answered, Body, Lease};
pub(crate) use target::Target;

use dial::Dialer;
use lease::Sender;
use pool::{Limits, Pool};

/// How long an unused connection is kept: below the minute after which most servers and
/// middleboxes drop theirs.
const MAX_IDLE: Duration = Duration::from_secs(45);
/// Unused connections kept to one origin: one for each delivery that a subscription may have in
/// flight.
const MAX_KEPT_PER_ORIGIN: usize = 64;
/// Wait for the answer that tells whether a kept connection still leads to its name: a slow one is
/// not worth a delivery that would arrive without it.
const MAX_ASK_AGAIN: Duration = Duration::from_millis(500);
/// How often connections are looked through for those that were idle too long.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum TransportError {
    /// The egress guard let no connection out.
    Refused(Refusal),
    /// The name has no address.
    Dns(DnsError),
    /// No connection came about.
    Connect(io::Error),
    /// Opening a connection took longer than this.
    TimedOut(Duration),
    /// The TLS handshake failed.
    Tls(io::Error),
    /// A host that no certificate can be for.
    TlsName,
    /// A URL that HTTP cannot carry.
    Url,
    /// The exchange failed.
    Http {
        source: hyper::Error,
        /// The other side's first bytes were a TLS record where plain HTTP was spoken.
        spoke_tls: bool,
    },
}

impl TransportError {
    fn local_fault(&self) -> Option<LocalFault> {
        match self {
            Self::Connect(error) => local_fault(error),
            Self::Dns(DnsError::Local(_, fault)) => Some(*fault),
            _ => None,
        }
    }
}

impl From<ResolveError> for TransportError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Refused(refusal) => Self::Refused(refusal),
            ResolveError::Dns(error) => Self::Dns(error),
        }
    }
}

/// Every connection of a client.
pub(crate) struct Transport {
    dialer: Dialer,
    resolver: GuardedResolver,
    pool: Arc<Pool<Sender>>,
    header_names: Extensions,
    connect_timeout: Duration,
}

impl Transport {
    /// Opens nothing.
    pub(crate) fn new(config: &DeliveryConfig, tls: &Tls) -> Self {
        Self {
            dialer: Dialer::new(tls),
            resolver: GuardedResolver::new(config.egress.clone(), config.name_servers.clone()),
            pool: Arc::new(Pool::new(Limits {
                kept: config.max_kept_connections,
                kept_per_origin: MAX_KEPT_PER_ORIGIN,
                idle: MAX_IDLE,
                age: config.max_connection_age,
                answer_age: config.resolve_every,
            })),
            header_names: header_case::extensions(),
            connect_timeout: config.connect_timeout,
        }
    }

    /// What a request carries so that its header names go out as the contract writes them.
    pub(crate) fn header_names(&self) -> &Extensions {
        &self.header_names
    }

    /// A connection to an origin: a kept one unless it has to be `fresh`. `phase` follows what is
    /// waited for.
    pub(crate) async fn connection(
        &self,
        target: &Target<'_>,
        fresh: bool,
        phase: &mut Phase,
    ) -> Result<Lease, TransportError> {
        if !fresh {
            if let Some(name) = target.name()
                && self.pool.is_answer_due(target.origin(), Instant::now())
            {
                *phase = Phase::Resolving;
                self.ask_again(target, name).await?;
            }
            if let Some(lease) = self.pool.take(target.origin(), Instant::now()) {
                return Ok(lease);
            }
        }
        let opened = timeout(self.connect_timeout, self.open(target, phase)).await;
        let lease = opened.unwrap_or(Err(TransportError::TimedOut(self.connect_timeout)));
        let lease = lease.inspect_err(|error| {
            if error.local_fault() == Some(LocalFault::Descriptors) {
                // What is unused makes room for the next attempt.
                self.pool.clear();
            }
        })?;
        if let Some(shared) = lease.shared() {
            // Several may have been opened at once before it was known that one serves them all.
            if !fresh && let Some(first) = self.pool.take(target.origin(), Instant::now()) {
                return Ok(first);
            }
            self.keep(target, shared);
        }
        Ok(lease)
    }

    /// Keeps a connection whose exchange is over.
    pub(crate) fn keep(&self, target: &Target<'_>, lease: Lease) {
        self.pool.put(target.origin(), lease, Instant::now());
    }

    /// Lets go of an origin's kept connections, and of those in use when they come back: one of
    /// them failed, and what ended it ends its like.
    pub(crate) fn forget(&self, target: &Target<'_>) {
        self.pool.forget(target.origin(), Instant::now());
    }

    /// Speaks HTTP/1.1 alone to an origin for a while.
    pub(crate) fn avoid_http2(&self, target: &Target<'_>) {
        self.pool.avoid_http2(target.origin(), Instant::now());
    }

    /// What names mean, and whether they may be asked for.
    pub(crate) fn resolver(&self) -> &GuardedResolver {
        &self.resolver
    }

    /// Whether names could be resolved at all.
    pub(crate) async fn name_servers_answer(&self) -> bool {
        self.resolver.answers().await
    }

    /// Kept connections lead on while the name servers are away; only another answer ends them.
    async fn ask_again(&self, target: &Target<'_>, name: &str) -> Result<(), TransportError> {
        match timeout(MAX_ASK_AGAIN, self.resolver.permitted(name)).await {
            Ok(Ok(addrs)) => self.pool.learn(target.origin(), &addrs, Instant::now()),
            Ok(Err(ResolveError::Refused(refusal))) => {
                self.forget(target);
                return Err(TransportError::Refused(refusal));
            }
            Ok(Err(ResolveError::Dns(error))) => {
                tracing::debug!(%error, "a name's connections are kept");
            }
            Err(_) => tracing::debug!("a name's connections are kept: it takes long to resolve"),
        }
        Ok(())
    }

    async fn open(&self, target: &Target<'_>, phase: &mut Phase) -> Result<Lease, TransportError> {
        // Read first: what is forgotten meanwhile must not be kept.
        let generation = self.pool.generation(target.origin(), Instant::now());
        if self.pool.wants_sweeping() {
            pool::sweep_in_background(&self.pool, SWEEP_EVERY);
        }
        let addrs = match (target.addr(), target.name()) {
            (Some(addr), _) => vec![addr],
            (None, Some(name)) => {
                *phase = Phase::Resolving;
                let addrs = self.resolver.permitted(name).await?;
                self.pool.learn(target.origin(), &addrs, Instant::now());
                addrs
            }
            (None, None) => return Err(TransportError::Url),
        };
        let http1 = self.pool.avoids_http2(target.origin(), Instant::now());
        let opened = Instant::now();
        let (sender, peer) = self.dialer.dial(target, &addrs, http1, phase).await?;
        Ok(Lease {
            connection: sender,
            opened,
            peer,
            generation,
            kept: false,
        })
    }
}
