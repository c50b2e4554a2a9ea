//! The special ranges as data, after the IANA special-purpose address registries (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Why an address is not simply public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Somebody's own network.
    Private(&'static str),
    /// Nothing that a receiver should live on.
    Special(&'static str),
    /// Hands out a machine's credentials.
    Metadata,
}

use Kind::{Metadata, Private, Special};

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Private(name) | Special(name) => name,
            Metadata => "cloud metadata",
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// The first match counts.
const V4: [(Ipv4Net, Kind); 18] = [
    (v4(0, 0, 0, 0, 8), Special("unspecified")),
    (v4(10, 0, 0, 0, 8), Private("private")),
    (v4(100, 64, 0, 0, 10), Private("carrier-grade NAT")),
    (v4(127, 0, 0, 0, 8), Private("loopback")),
    (v4(169, 254, 0, 0, 16), Private("link-local")),
    (v4(172, 16, 0, 0, 12), Private("private")),
    (v4(192, 0, 0, 0, 24), Special("reserved")),
    (v4(192, 0, 2, 0, 24), Special("documentation")),
    (v4(192, 31, 196, 0, 24), Special("reserved")),
    (v4(192, 52, 193, 0, 24), Special("reserved")),
    (v4(192, 88, 99, 0, 24), Special("6to4 relay")),
    (v4(192, 168, 0, 0, 16), Private("private")),
    (v4(198, 18, 0, 0, 15), Private("benchmarking")),
    (v4(198, 51, 100, 0, 24), Special("documentation")),
    (v4(203, 0, 113, 0, 24), Special("documentation")),
    (v4(224, 0, 0, 0, 4), Special("multicast")),
    (v4(255, 255, 255, 255, 32), Special("broadcast")),
    (v4(240, 0, 0, 0, 4), Special("reserved")),
];

/// The first match counts; beyond these, what is outside [`GLOBAL_UNICAST`] is reserved.
const V6: [(Ipv6Net, Kind); 15] = [
    (v6([0; 8], 128), Special("unspecified")),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Private("loopback")),
    (COMPATIBLE, Special("IPv4-compatible")),
    (NAT64_LOCAL, Special("local NAT64")),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), Special("discard")),
    (TEREDO, Special("Teredo")),
    (
        v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48),
        Private("benchmarking"),
    ),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Special("reserved")),
    (
        v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
        Special("documentation"),
    ),
    (SIX_TO_FOUR, Special("6to4")),
    (
        v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
        Special("documentation"),
    ),
    (
        v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
        Private("unique local"),
    ),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Private("link-local")),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Private("site-local")),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Special("multicast")),
];

const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const COMPATIBLE: Ipv6Net = v6([0; 8], 96);
/// What stateless translators (RFC 2765, RFC 7915) take for an IPv4 address.
const TRANSLATED: Ipv6Net = v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96);
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const NAT64_LOCAL: Ipv6Net = v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48);
const TEREDO: Ipv6Net = v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

/// Each with the place where its cloud documents it, or the client of that cloud's own that uses it.
const METADATA_V4: [Ipv4Addr; 10] = [
    // AWS, Google, Azure, DigitalOcean, Hetzner, OpenStack, Linode, Oracle and others: each cloud's page
    // on instance metadata; cloud-init's datasources name it for all of them.
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2), // AWS ECS task credentials: "Task IAM role", ECS developer guide
    Ipv4Addr::new(169, 254, 170, 23), // AWS EKS pod identity: "EKS Pod Identity", EKS user guide
    Ipv4Addr::new(169, 254, 169, 252), // GKE's metadata server: "Workload Identity Federation for GKE"
    Ipv4Addr::new(169, 254, 169, 250), // Rancher: "Rancher metadata service"
    Ipv4Addr::new(169, 254, 42, 42), // Scaleway: "Instance metadata", and cloud-init's DataSourceScaleway
    Ipv4Addr::new(169, 254, 0, 23), // Tencent, which metadata.tencentyun.com is: "Querying metadata"
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba: "Instance metadata", ECS user guide
    Ipv4Addr::new(168, 63, 129, 16), // Azure wire server: "What is IP address 168.63.129.16?"
    Ipv4Addr::new(192, 0, 0, 192),  // Oracle Classic: "Retrieving instance metadata"
];

const METADATA_V6: [Ipv6Addr; 8] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS: "Access instance metadata", EC2 guide
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),  // AWS EKS pod identity: EKS user guide
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), // Google: "VM metadata", IPv6-only instances
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),  // Scaleway: cloud-init's DataSourceScaleway
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), // Oracle: its SDKs' instance principals
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1), // Linode: cloud-init's DataSourceAkamai
    Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200), // Alibaba: ECS, IPv6 access to metadata
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe), // OpenStack: Neutron's metadata over IPv6
];

const METADATA_NAMES: [&str; 9] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "rancher-metadata",
    "api.metadata.cloud.ibm.com",
];

const LOOPBACK_NAMES: [&str; 5] = [
    "localhost",
    "localhost.localdomain",
    "localhost6",
    "ip6-localhost",
    "ip6-loopback",
];

/// What an address is, if it is not simply public.
pub(super) fn kind(addr: IpAddr) -> Option<Kind> {
    match addr {
        IpAddr::V4(addr) => kind_v4(addr),
        IpAddr::V6(addr) => kind_v6(addr),
    }
}

fn kind_v4(addr: Ipv4Addr) -> Option<Kind> {
    if METADATA_V4.contains(&addr) {
        return Some(Metadata);
    }
    let range = V4.iter().find(|(net, _)| net.contains(&addr));
    range.map(|&(_, kind)| kind)
}

fn kind_v6(addr: Ipv6Addr) -> Option<Kind> {
    let metadata = |v4: Ipv4Addr| kind_v4(v4) == Some(Metadata);
    if METADATA_V6.contains(&addr) || embedded(addr).into_iter().any(metadata) {
        return Some(Metadata);
    }
    if let IpAddr::V4(v4) = leads_to(addr.into()) {
        return kind_v4(v4);
    }
    let range = V6.iter().find(|(net, _)| net.contains(&addr));
    match range {
        Some(&(_, kind)) => Some(kind),
        None if GLOBAL_UNICAST.contains(&addr) => None,
        None => Some(Special("reserved")),
    }
}

/// The IPv4 address that a v4-mapped or NAT64 address is another spelling of; else the address.
pub(super) fn leads_to(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V6(v6) if NAT64.contains(&v6) => low_v4(v6).into(),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(addr, IpAddr::V4),
        IpAddr::V4(_) => addr,
    }
}

/// Every IPv4 address that some reading of an IPv6 address finds in it.
fn embedded(addr: Ipv6Addr) -> Vec<Ipv4Addr> {
    let b = addr.octets();
    let v4 = |at: [usize; 4]| Ipv4Addr::from(at.map(|i| b[i]));
    // RFC 5214 §6.1: an interface identifier of ISATAP, under any prefix.
    let isatap = matches!(b, [_, _, _, _, _, _, _, _, 0 | 2, 0, 0x5e, 0xfe, ..]);
    let low = [COMPATIBLE, TRANSLATED, NAT64];
    let mut found = if addr.to_ipv4_mapped().is_some() || low.iter().any(|it| it.contains(&addr)) {
        vec![low_v4(addr)]
    } else if NAT64_LOCAL.contains(&addr) {
        // RFC 6052 §2.2: where the address stands depends on the prefix length; octet 8 is zero.
        vec![
            v4([6, 7, 9, 10]),
            v4([7, 9, 10, 11]),
            v4([9, 10, 11, 12]),
            low_v4(addr),
        ]
    } else if SIX_TO_FOUR.contains(&addr) {
        vec![v4([2, 3, 4, 5])]
    } else if TEREDO.contains(&addr) {
        // RFC 4380 §4: the server, then the client with its bits inverted.
        vec![v4([4, 5, 6, 7]), Ipv4Addr::from(!u32::from(low_v4(addr)))]
    } else {
        Vec::new()
    };
    if isatap {
        found.push(low_v4(addr));
    }
    found
}

fn low_v4(addr: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = addr.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// Whether a name stands for a metadata service.
pub(super) fn is_metadata_name(name: &str) -> bool {
    let name = canonical(name);
    METADATA_NAMES.contains(&name.as_str())
}

/// Whether a name stands for this machine, without asking any server (RFC 6761 §6.3).
pub(super) fn is_loopback_name(name: &str) -> bool {
    let name = canonical(name);
    LOOPBACK_NAMES.contains(&name.as_str()) || name.ends_with(".localhost")
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
