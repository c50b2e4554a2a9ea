use std::{io, net::SocketAddr};

/// Why a server did not start, or did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Another program listens where the API should.
    #[error("{0} is taken by another program; set DECNET_API_PORT or --port to a free port")]
    PortTaken(SocketAddr),
    /// Another program listens where health and metrics should be served.
    #[error(
        "{0} is taken by another program; set DECNET_METRICS_ADDR or --metrics-addr to a free address"
    )]
    ProbePortTaken(SocketAddr),
    /// The host name has no address.
    #[error("{host:?} does not resolve to an address; check DECNET_API_HOST")]
    UnknownHost {
        /// The name as it was configured.
        host: String,
        /// What the resolver said.
        source: Option<io::Error>,
    },
    /// A text that is no origin, which no browser would ever send.
    #[error(
        "{0:?} is no origin; write scheme://host or scheme://host:port in DECNET_CORS_ORIGINS, without a path"
    )]
    NoOrigin(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server ended by itself.
    #[error("the HTTP server failed")]
    Serve(#[source] io::Error),
    /// A key that could be guessed.
    #[error(
        "DECNET_JWT_SECRET has {0} characters; use {min} or more",
        min = crate::tokens::MIN_SECRET_CHARS
    )]
    ShortJwtSecret(usize),
    /// A text that names no role.
    #[error("{0:?} is no role; use admin, viewer or publisher")]
    UnknownRole(String),
}
