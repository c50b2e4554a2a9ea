use std::{net::SocketAddr, time::Duration};

use rustls::pki_types::CertificateDer;

use crate::EgressPolicy;

/// Settings of a [`DeliveryClient`](crate::DeliveryClient).
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// Bound of a whole attempt: resolve, connect, send, and read the answer with its body.
    /// Default 10 s. [`Endpoint::timeout`](crate::Endpoint::timeout) goes before it.
    pub attempt_timeout: Duration,
    /// Bound of resolving, connecting and the TLS handshake together, within the attempt's.
    /// Default 5 s.
    pub connect_timeout: Duration,
    /// Where requests may go: `DECNET_WEBHOOK_ALLOW_PRIVATE` and `DECNET_WEBHOOK_ALLOW_CIDRS`.
    /// Default: public addresses alone.
    pub egress: EgressPolicy,
    /// Asked instead of the name servers in `/etc/resolv.conf`, if there are any. `/etc/hosts`
    /// goes before both; other sources of `nsswitch.conf` are not asked. Default none.
    pub name_servers: Vec<SocketAddr>,
    /// `User-Agent`. Default `decnet-webhook/<version>`.
    pub user_agent: String,
    /// Trusted besides the platform's roots (which the usual `SSL_CERT_FILE` and `SSL_CERT_DIR`
    /// override): `DECNET_WEBHOOK_CA_FILE`. Default none.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Connections kept unused in sum, besides at most 64 to one origin. Default 512: half of the
    /// descriptors that a process commonly has.
    pub max_kept_connections: usize,
    /// Age from which on a kept connection is not used again, so that a receiver behind a load
    /// balancer can move. Default 5 min.
    pub max_connection_age: Duration,
    /// Age from which on a name is resolved again before a connection kept under it is used. One
    /// that leads to an address which the name no longer has is not used any more. Default 30 s.
    pub resolve_every: Duration,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            egress: EgressPolicy::default(),
            name_servers: Vec::new(),
            user_agent: concat!("decnet-webhook/", env!("CARGO_PKG_VERSION")).to_owned(),
            extra_roots: Vec::new(),
            max_kept_connections: 512,
            max_connection_age: Duration::from_secs(300),
            resolve_every: Duration::from_secs(30),
        }
    }
}

/// Why no client can be made of a [`DeliveryConfig`].
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Not a header value.
    #[error("user agent {0:?} contains characters that a header cannot hold")]
    UserAgent(String),
    /// An extra root that is no certificate.
    #[error("extra root certificate number {index} cannot be read")]
    ExtraRoot {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// No TLS version in common with the provider.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}
