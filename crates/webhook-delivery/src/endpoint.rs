use std::{fmt, time::Duration};

use http::{HeaderName, HeaderValue};
use webhook_model::{EndpointUrl, Secret};

/// Where events go, and what signs them there.
#[derive(Clone)]
pub struct Endpoint {
    /// Receiver of the POST. Its user name and password are sent as `Authorization: Basic`, unless
    /// `headers` has an `Authorization` of its own.
    pub url: EndpointUrl,
    /// Signs every body.
    pub secret: Secret,
    /// Bound of one attempt; the client's own when absent.
    pub timeout: Option<Duration>,
    /// Sent along; those that [`is_custom_header`](crate::is_custom_header) refuses are left out.
    /// Values count as secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Endpoint {
    /// An endpoint with the client's time-out and no headers of its own.
    pub fn new(url: EndpointUrl, secret: Secret) -> Self {
        Self {
            url,
            secret,
            timeout: None,
            headers: Vec::new(),
        }
    }
}

impl fmt::Debug for Endpoint {
    /// Header names alone: their values are credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .field("timeout", &self.timeout)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}
