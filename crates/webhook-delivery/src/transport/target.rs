use std::net::IpAddr;

use http::{HeaderValue, Uri};
use url::{Host, Position, Url};

use super::TransportError;

/// Where a URL leads.
pub(crate) struct Target<'a> {
    url: &'a Url,
    host: Option<Host<&'a str>>,
}

impl<'a> Target<'a> {
    /// Of an http or https URL.
    pub(crate) fn of(url: &'a Url) -> Self {
        Self {
            url,
            host: url.host(),
        }
    }

    /// Scheme, host and port: what shares connections.
    pub(crate) fn origin(&self) -> &'a str {
        &self.url[..Position::BeforePath]
    }

    /// Whether TLS is spoken.
    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The name to resolve, if it is none of an address.
    pub(super) fn name(&self) -> Option<&'a str> {
        match self.host {
            Some(Host::Domain(name)) => Some(name),
            _ => None,
        }
    }

    /// The literal address, if it is one.
    pub(super) fn addr(&self) -> Option<IpAddr> {
        match self.host {
            Some(Host::Ipv4(addr)) => Some(addr.into()),
            Some(Host::Ipv6(addr)) => Some(addr.into()),
            _ => None,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// What `Host` says.
    pub(crate) fn authority(&self) -> Result<HeaderValue, TransportError> {
        HeaderValue::from_str(&self.url[Position::BeforeHost..Position::AfterPort])
            .map_err(|_| TransportError::Url)
    }

    /// The URL without its fragment, as HTTP has it.
    pub(crate) fn uri(&self) -> Result<Uri, TransportError> {
        self.url[..Position::AfterQuery]
            .parse()
            .map_err(|_| TransportError::Url)
    }
}
