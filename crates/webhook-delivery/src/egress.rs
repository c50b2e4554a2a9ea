//! Which addresses a request may reach. An endpoint URL is another party's input: without this
//! guard it could make the service talk to its own network (SSRF).
//!
//! Two checks: literal addresses before anything is sent ([`EgressPolicy::check_url`]), names
//! inside the client's DNS hook. The hook is the authoritative one: the addresses that it let
//! pass are the ones connected to, whatever the name says a second later. Kept connections lead
//! to addresses that passed. Redirects are not followed and no proxy resolves for us.

mod ranges;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use url::{Host, Url};

use ranges::Kind;

/// What a request may reach: public addresses, and what is allowed besides. Cloud metadata
/// addresses are refused under every policy: they hand out credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    allow_private: bool,
    allow_cidrs: Vec<IpNet>,
}

/// A destination that the policy does not allow. Its text names the setting that would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{target}; {remedy}")]
pub struct Refusal {
    target: Target,
    remedy: Remedy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Address(IpAddr, &'static str),
    Resolved(String, IpAddr, &'static str),
    MetadataName(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    CidrsOrPrivate(IpAddr),
    Cidrs(IpAddr),
    None,
}

impl EgressPolicy {
    /// Lets private destinations pass (`DECNET_WEBHOOK_ALLOW_PRIVATE`): private, loopback,
    /// link-local, CGNAT, benchmarking, unique local and site-local networks.
    pub fn allow_private(mut self, allow: bool) -> Self {
        self.allow_private = allow;
        self
    }

    /// Lets exactly these networks pass as well (`DECNET_WEBHOOK_ALLOW_CIDRS`).
    pub fn allow_cidrs(mut self, cidrs: Vec<IpNet>) -> Self {
        self.allow_cidrs = cidrs;
        self
    }

    /// Whether an address may be connected to. IPv4 inside IPv6 counts as what it leads to.
    pub fn check_addr(&self, addr: IpAddr) -> Result<(), Refusal> {
        self.judge(addr).map_err(|(what, remedy)| Refusal {
            target: Target::Address(addr, what),
            remedy,
        })
    }

    /// Whether a URL may be asked to be delivered to: literal addresses, `localhost` and names of
    /// metadata services. Other names are checked when they are resolved.
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        match url.host() {
            Some(Host::Ipv4(addr)) => self.check_addr(addr.into()),
            Some(Host::Ipv6(addr)) => self.check_addr(addr.into()),
            Some(Host::Domain(name)) => {
                self.check_name(name)?;
                if ranges::is_loopback_name(name) {
                    self.permitted(name, &LOOPBACK)?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Refuses the names of metadata services, whatever they resolve to.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), Refusal> {
        if ranges::is_metadata_name(name) {
            return Err(Refusal {
                target: Target::MetadataName(name.to_owned()),
                remedy: Remedy::None,
            });
        }
        Ok(())
    }

    /// The addresses of a resolved name that may be connected to; a refusal if there is none.
    pub(crate) fn permitted(&self, name: &str, addrs: &[IpAddr]) -> Result<Vec<IpAddr>, Refusal> {
        let mut refused = None;
        let mut passed = Vec::with_capacity(addrs.len());
        for &addr in addrs {
            match self.judge(addr) {
                Ok(()) => passed.push(addr),
                Err((what, remedy)) => {
                    refused.get_or_insert((addr, what, remedy));
                }
            }
        }
        match refused {
            Some((addr, what, remedy)) if passed.is_empty() => Err(Refusal {
                target: Target::Resolved(name.to_owned(), addr, what),
                remedy,
            }),
            _ => Ok(passed),
        }
    }

    fn judge(&self, addr: IpAddr) -> Result<(), (&'static str, Remedy)> {
        let Some(kind) = ranges::kind(addr) else {
            return Ok(());
        };
        let leads_to = ranges::leads_to(addr);
        let listed = |net: &IpNet| net.contains(&addr) || net.contains(&leads_to);
        match kind {
            Kind::Metadata => Err((kind.name(), Remedy::None)),
            _ if self.allow_cidrs.iter().any(listed) => Ok(()),
            Kind::Private(_) if self.allow_private => Ok(()),
            Kind::Private(_) => Err((kind.name(), Remedy::CidrsOrPrivate(leads_to))),
            Kind::Special(_) => Err((kind.name(), Remedy::Cidrs(leads_to))),
        }
    }
}

/// What `localhost` stands for (RFC 6761 §6.3).
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr, what) => write!(f, "{addr} is a {what} address"),
            Self::Resolved(name, addr, what) => {
                write!(f, "{name} resolves to {addr}, a {what} address")
            }
            Self::MetadataName(name) => write!(f, "{name} names a cloud metadata service"),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CidrsOrPrivate(addr) => write!(
                f,
                "to allow it, add {} to DECNET_WEBHOOK_ALLOW_CIDRS or set \
                 DECNET_WEBHOOK_ALLOW_PRIVATE=true",
                IpNet::from(*addr)
            ),
            Self::Cidrs(addr) => write!(
                f,
                "to allow it, add {} to DECNET_WEBHOOK_ALLOW_CIDRS",
                IpNet::from(*addr)
            ),
            Self::None => f.write_str("no setting allows it"),
        }
    }
}
