use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;
use reqwest::{Client, redirect};

use crate::{BuildError, DeliveryConfig, EgressPolicy, dns::GuardedResolver, tls};

/// How long an unused connection is kept: below the minute after which most servers and
/// middleboxes drop theirs.
const POOL_IDLE: Duration = Duration::from_secs(45);
/// Unused connections kept to one receiver: one for each delivery that a subscription may have
/// in flight.
const POOL_IDLE_PER_HOST: usize = 64;

/// How often an HTTP/2 connection in use is pinged, and how long the answer may take. One request's
/// time-out ends its stream, not the connection: without pings a dead one would be used again
/// and again.
const HTTP2_PING: Duration = Duration::from_secs(10);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The one way out: pooled connections behind the egress guard. Cheap to clone; share one.
#[derive(Clone)]
pub struct DeliveryClient {
    inner: Arc<Inner>,
}

struct Inner {
    http: Client,
    config: DeliveryConfig,
    has_roots: bool,
}

impl DeliveryClient {
    /// Reads the platform's root certificates and sets the client up. Opens no connection.
    pub fn new(config: DeliveryConfig) -> Result<Self, BuildError> {
        let user_agent = HeaderValue::from_str(&config.user_agent)
            .map_err(|_| BuildError::UserAgent(config.user_agent.clone()))?;
        let tls = tls::configure(&config.extra_roots)?;
        let http = Client::builder()
            .tls_backend_preconfigured(tls.config)
            .dns_resolver(GuardedResolver::new(
                config.egress.clone(),
                config.name_servers.clone(),
            ))
            .redirect(redirect::Policy::none())
            // A proxy would resolve names itself, past the guard.
            .no_proxy()
            .referer(false)
            .user_agent(user_agent)
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
            .http2_keep_alive_interval(HTTP2_PING)
            .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
            .build()
            .map_err(BuildError::Http)?;
        Ok(Self {
            inner: Arc::new(Inner {
                http,
                config,
                has_roots: tls.has_roots,
            }),
        })
    }

    /// What this client may reach; URLs are checked against it when they are entered.
    pub fn egress(&self) -> &EgressPolicy {
        &self.inner.config.egress
    }

    pub(crate) fn config(&self) -> &DeliveryConfig {
        &self.inner.config
    }

    pub(crate) fn http(&self) -> &Client {
        &self.inner.http
    }

    pub(crate) fn has_roots(&self) -> bool {
        self.inner.has_roots
    }
}

impl fmt::Debug for DeliveryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryClient")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}
