use std::{fmt, sync::Arc};

use http::HeaderValue;
use url::Host;
use webhook_model::EndpointUrl;

use crate::{BuildError, DeliveryConfig, EgressPolicy, HostError, tls, transport::Transport};

/// The one way out: pooled connections behind the egress guard. Cheap to clone; share one.
#[derive(Clone)]
pub struct DeliveryClient {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    user_agent: HeaderValue,
    config: DeliveryConfig,
    has_roots: bool,
}

impl DeliveryClient {
    /// Reads the platform's root certificates and sets the client up. Opens no connection.
    pub fn new(config: DeliveryConfig) -> Result<Self, BuildError> {
        let user_agent = HeaderValue::from_str(&config.user_agent)
            .map_err(|_| BuildError::UserAgent(config.user_agent.clone()))?;
        let tls = tls::configure(&config.extra_roots)?;
        Ok(Self {
            inner: Arc::new(Inner {
                transport: Transport::new(&config, &tls),
                user_agent,
                config,
                has_roots: tls.has_roots,
            }),
        })
    }

    /// What this client may reach; URLs are checked against it when they are entered.
    pub fn egress(&self) -> &EgressPolicy {
        &self.inner.config.egress
    }

    /// Whether a URL's host has an address that may be reached, looked up as a delivery would, within
    /// a few seconds. Tomorrow's answer may be another one.
    pub async fn check_host(&self, url: &EndpointUrl) -> Result<(), HostError> {
        match url.url().host() {
            Some(Host::Domain(name)) => self.inner.transport.resolver().check(name).await,
            _ => Ok(()),
        }
    }

    pub(crate) fn config(&self) -> &DeliveryConfig {
        &self.inner.config
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.inner.transport
    }

    pub(crate) fn user_agent(&self) -> &HeaderValue {
        &self.inner.user_agent
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
