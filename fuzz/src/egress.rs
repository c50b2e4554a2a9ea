//! URLs of receivers, and the addresses that no setting lets a request reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arbitrary::{Result, Unstructured};
use url::Host;
use webhook_delivery::EgressPolicy;
use webhook_model::EndpointUrl;

/// What clouds hand a machine's credentials out at.
const NEVER_V4: [Ipv4Addr; 10] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(169, 254, 169, 252),
    Ipv4Addr::new(169, 254, 169, 250),
    Ipv4Addr::new(169, 254, 42, 42),
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const NEVER_V6: [&str; 8] = [
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "fd00:c1::a9fe:a9fe",
    "fd00:a9fe:a9fe::1",
    "fd00:100::100:200",
    "fe80::a9fe:a9fe",
];
const NEVER_NAMES: [&str; 9] = [
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
/// Ways in which IPv6 holds an IPv4 address: what stands around its two halves, and where.
const HOLDING: [(&str, [u16; 8], usize); 9] = [
    ("compatible (RFC 4291)", [0, 0, 0, 0, 0, 0, 0, 0], 6),
    ("mapped (RFC 4291)", [0, 0, 0, 0, 0, 0xffff, 0, 0], 6),
    ("translated (RFC 7915)", [0, 0, 0, 0, 0xffff, 0, 0, 0], 6),
    ("NAT64 (RFC 6052)", [0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 6),
    (
        "local NAT64 (RFC 8215)",
        [0x64, 0xff9b, 1, 0, 0, 0, 0, 0],
        6,
    ),
    ("6to4 (RFC 3056)", [0x2002, 0, 0, 0, 0, 0, 0, 1], 1),
    (
        "Teredo's server (RFC 4380)",
        [0x2001, 0, 0, 0, 0, 0, 0, 0],
        2,
    ),
    ("ISATAP (RFC 5214)", [0xfe80, 0, 0, 0, 0, 0x5efe, 0, 0], 6),
    (
        "ISATAP (RFC 5214)",
        [0x2600, 1, 2, 3, 0x200, 0x5efe, 0, 0],
        6,
    ),
];

/// What must never be reached is refused under every policy, whatever its spelling, and what is not
/// public is by default; no text is a panic.
///
/// The first byte says whether the rest is a URL as it comes, an address, or the choices of a spelling.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    match input.int_in_range(0..=2).unwrap_or(0) {
        0 => any_url(&String::from_utf8_lossy(input.take_rest())),
        1 => any_address(input.arbitrary().unwrap_or(0)),
        _ => drop(spelled(&mut input)),
    }
}

fn lenient() -> EgressPolicy {
    let all = ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("it is a network"));
    EgressPolicy::default()
        .allow_private(true)
        .allow_cidrs(all.into())
}

fn any_url(text: &str) {
    let url = match EndpointUrl::parse(text) {
        Ok(url) => url,
        Err(error) => {
            assert!(error.to_string().chars().count() < 1_000, "{error}");
            return;
        }
    };
    let passes = |policy: EgressPolicy| policy.check_url(url.url()).is_ok();
    let never = match url.url().host() {
        Some(Host::Ipv4(addr)) => is_never(addr.into()),
        Some(Host::Ipv6(addr)) => is_never(addr.into()),
        Some(Host::Domain(name)) => is_never_name(name),
        None => panic!("{text:?} has no host"),
    };
    assert!(!never || !passes(lenient()), "{text:?}");
    let inner = match url.url().host() {
        Some(Host::Ipv4(addr)) => is_inner(addr.into()),
        Some(Host::Ipv6(addr)) => is_inner(addr.into()),
        _ => false,
    };
    assert!(!inner || !passes(EgressPolicy::default()), "{text:?}");
    // What is stored and read again is the same URL.
    assert_eq!(EndpointUrl::parse(url.expose()).as_ref(), Ok(&url));
    assert!(
        !url.as_str().contains('@')
            || url.as_str().contains("***@")
            || url.authorization().is_none()
    );
}

fn any_address(bits: u128) {
    let low = (bits & u128::from(u32::MAX)) as u32;
    for addr in [
        IpAddr::from(Ipv6Addr::from(bits)),
        Ipv4Addr::from(low).into(),
    ] {
        let refused = |policy: EgressPolicy| policy.check_addr(addr).is_err();
        assert!(!is_never(addr) || refused(lenient()), "{addr}");
        assert!(
            !is_inner(addr) || refused(EgressPolicy::default()),
            "{addr}"
        );
    }
}

/// A URL of what must never be reached, in one of the spellings that parsers take.
fn spelled(input: &mut Unstructured<'_>) -> Result<()> {
    let host = match input.int_in_range(0..=3)? {
        0 => NEVER_NAMES[input.choose_index(NEVER_NAMES.len())?].to_owned(),
        1 => spelled_v6(
            NEVER_V6[input.choose_index(NEVER_V6.len())?]
                .parse()
                .expect("it is one"),
            input,
        )?,
        2 => {
            let (_, mut segments, at) = *input.choose(&HOLDING)?;
            let octets = input.choose(&NEVER_V4)?.octets();
            segments[at] = u16::from_be_bytes([octets[0], octets[1]]);
            segments[at + 1] = u16::from_be_bytes([octets[2], octets[3]]);
            spelled_v6(segments.into(), input)?
        }
        _ => spelled_v4(*input.choose(&NEVER_V4)?, input)?,
    };
    let host = if host.starts_with('[') {
        host
    } else {
        disguised(&host, input)?
    };
    let scheme = *input.choose(&[
        "http://",
        "https://",
        "hTTp:",
        "http:/",
        "http:\\\\",
        " \u{1}http:////",
        "ht\ntp://",
    ])?;
    let user = *input.choose(&["", "a:b@", "example.org@", "example.org:80%40@"])?;
    let rest = *input.choose(&["", "/", ":80/", ":443", "?q", "#f", "\\x", "/../.."])?;
    let text = format!("{scheme}{user}{host}{rest}");
    if let Ok(url) = EndpointUrl::parse(&text) {
        assert!(
            lenient().check_url(url.url()).is_err(),
            "{text:?} is {url:?}"
        );
    }
    Ok(())
}

/// In one to four parts, each in one of three bases (WHATWG URL, "IPv4 parser").
fn spelled_v4(addr: Ipv4Addr, input: &mut Unstructured<'_>) -> Result<String> {
    let count = input.int_in_range(1..=4_u32)?;
    let bits = u64::from(u32::from(addr));
    let mut parts = Vec::new();
    for index in 0..count {
        let part = if index + 1 == count {
            bits & (u64::MAX >> (32 + 8 * index))
        } else {
            (bits >> (24 - 8 * index)) & 0xff
        };
        parts.push(match input.int_in_range(0..=3)? {
            0 => format!("0x{part:x}"),
            1 => format!("0X000{part:X}"),
            2 => format!("0{part:o}"),
            _ => part.to_string(),
        });
    }
    Ok(parts.join("."))
}

fn spelled_v6(addr: Ipv6Addr, input: &mut Unstructured<'_>) -> Result<String> {
    let segments = addr.segments();
    let long = segments.map(|it| format!("{it:04X}")).join(":");
    let [.., a, b, c, d] = addr.octets();
    let dotted = format!(
        "{}:{a}.{b}.{c}.{d}",
        segments[..6]
            .iter()
            .map(|it| format!("{it:x}"))
            .collect::<Vec<_>>()
            .join(":")
    );
    let texts = [addr.to_string(), long, dotted];
    let text = input.choose(&texts)?;
    Ok(format!("[{text}]"))
}

/// With characters that a URL's host is cleared of, or that it takes for others.
fn disguised(host: &str, input: &mut Unstructured<'_>) -> Result<String> {
    let mut text = String::new();
    for char in host.chars() {
        match input.int_in_range(0..=15)? {
            0 => text.push_str(&format!("%{:02x}", u32::from(char))),
            1 if char == '.' => text.push(*input.choose(&['\u{3002}', '\u{ff0e}', '\u{ff61}'])?),
            // The full-width forms of ASCII.
            1 => text.extend(char::from_u32(u32::from(char) + 0xfee0)),
            2 => text.extend(char.to_uppercase()),
            3 => text.extend([
                char,
                *input.choose(&['\t', '\n', '\r', '\u{ad}', '\u{200b}'])?,
            ]),
            _ => text.push(char),
        }
    }
    if input.arbitrary()? {
        text.push('.');
    }
    Ok(text)
}

fn is_never(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => NEVER_V4.contains(&addr),
        IpAddr::V6(addr) => {
            NEVER_V6.iter().any(|it| it.parse() == Ok(addr))
                || held(addr).any(|it| NEVER_V4.contains(&it))
        }
    }
}

/// The IPv4 addresses that an IPv6 address holds in one of the ways of [`HOLDING`].
fn held(addr: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let segments = addr.segments();
    HOLDING.into_iter().filter_map(move |(_, frame, at)| {
        let prefix = if frame[5] == 0x5efe {
            4..6
        } else {
            0..at.max(1)
        };
        let is_held = segments[prefix.clone()] == frame[prefix];
        let half = |at: usize| segments[at].to_be_bytes();
        let ([a, b], [c, d]) = (half(at), half(at + 1));
        is_held.then(|| Ipv4Addr::new(a, b, c, d))
    })
}

/// Somebody's own, or nobody's, as the standard library says.
fn is_inner(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => {
            addr.is_private()
                || addr.is_loopback()
                || addr.is_link_local()
                || addr.is_broadcast()
                || addr.is_documentation()
                || addr.is_unspecified()
                || addr.is_multicast()
        }
        IpAddr::V6(addr) => {
            addr.is_loopback()
                || addr.is_unspecified()
                || addr.is_multicast()
                || addr.is_unique_local()
                || addr.is_unicast_link_local()
                || addr.to_ipv4_mapped().is_some_and(|it| is_inner(it.into()))
        }
    }
}

fn is_never_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    NEVER_NAMES
        .iter()
        .any(|never| never.eq_ignore_ascii_case(name))
}
