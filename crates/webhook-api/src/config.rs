use std::time::Duration;

use crate::{ConnectionLimits, FirstToken, PublishQuota, tokens::JwtSecret};

/// Everything about the API that an operator can set.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Host name or address to listen on. `DECNET_API_HOST`, default `127.0.0.1`.
    pub host: String,
    /// TCP port to listen on; 0 takes a free one. `DECNET_API_PORT`, default 8000.
    pub port: u16,
    /// Key of the tokens, 32 characters or more. `DECNET_JWT_SECRET`; no default here, the program
    /// makes one at its first start.
    pub jwt_secret: JwtSecret,
    /// Pages of exactly these origins may call the API, e.g. `http://localhost:8080`; none by default.
    /// `DECNET_CORS_ORIGINS`.
    pub cors_origins: Vec<String>,
    /// Threads that read requests and write answers, at least 1. No variable, default 2: the work
    /// itself is done elsewhere, and an API of this kind is never bound by its parser.
    pub workers: usize,
    /// How many connections are served at once. No variable, the program derives it from how many
    /// files it may open.
    pub connections: ConnectionLimits,
    /// What each publisher's token may publish; one may carry less. An admin's is not limited.
    /// `DECNET_PUBLISH_EVENTS_PER_SECOND`, default 10,000, `DECNET_PUBLISH_BYTES_PER_SECOND`, default
    /// 32 MiB, and `DECNET_PUBLISH_BUS_SHARE`, default 50 percent.
    pub publish_quota: PublishQuota,
    /// Whether whoever reaches the address may read `/metrics` without a token.
    /// `DECNET_API_OPEN_METRICS`, default `false`.
    pub open_metrics: bool,
    /// A token whose first use is to be told. No variable, default none.
    pub first_token: Option<FirstToken>,
    /// Seconds that requests in progress get to finish at shutdown. No variable, default 10 s:
    /// as long as the longest thing a request waits for, one delivery attempt.
    pub shutdown_grace: Duration,
}

impl ApiConfig {
    /// The defaults, with the one thing that has none.
    pub fn new(jwt_secret: JwtSecret) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8000,
            jwt_secret,
            cors_origins: Vec::new(),
            workers: 2,
            connections: ConnectionLimits::default(),
            publish_quota: PublishQuota::default(),
            open_metrics: false,
            first_token: None,
            shutdown_grace: Duration::from_secs(10),
        }
    }
}
