use std::net::IpAddr;

use url::Url;

use super::*;

const METADATA: &str = "no setting allows it";

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn cidrs(list: &[&str]) -> EgressPolicy {
    let nets = list.iter().map(|net| net.parse().unwrap()).collect();
    EgressPolicy::default().allow_cidrs(nets)
}

fn check(policy: &EgressPolicy, url: &str) -> Result<(), String> {
    let url = Url::parse(url).expect(url);
    policy
        .check_url(&url)
        .map_err(|refusal| refusal.to_string())
}

/// First and last address of each range, the public neighbours before and after it if there are
/// any, whether `allow_private` lets it pass, and its name.
const RANGES: &str = "
0.0.0.0 0.255.255.255 - 1.0.0.0 special unspecified
10.0.0.0 10.255.255.255 9.255.255.255 11.0.0.0 private private
100.64.0.0 100.127.255.255 100.63.255.255 100.128.0.0 private carrier-grade NAT
127.0.0.0 127.255.255.255 126.255.255.255 128.0.0.0 private loopback
169.254.0.0 169.254.255.255 169.253.255.255 169.255.0.0 private link-local
172.16.0.0 172.31.255.255 172.15.255.255 172.32.0.0 private private
192.0.0.0 192.0.0.255 191.255.255.255 192.0.1.0 special reserved
192.0.2.0 192.0.2.255 192.0.1.255 192.0.3.0 special documentation
192.31.196.0 192.31.196.255 192.31.195.255 192.31.197.0 special reserved
192.52.193.0 192.52.193.255 192.52.192.255 192.52.194.0 special reserved
192.88.99.0 192.88.99.255 192.88.98.255 192.88.100.0 special 6to4 relay
192.168.0.0 192.168.255.255 192.167.255.255 192.169.0.0 private private
198.18.0.0 198.19.255.255 198.17.255.255 198.20.0.0 private benchmarking
198.51.100.0 198.51.100.255 198.51.99.255 198.51.101.0 special documentation
203.0.113.0 203.0.113.255 203.0.112.255 203.0.114.0 special documentation
224.0.0.0 239.255.255.255 223.255.255.255 - special multicast
240.0.0.0 255.255.255.254 - - special reserved
255.255.255.255 255.255.255.255 - - special broadcast
:: :: - - special unspecified
::1 ::1 - - private loopback
::2 ::ffff:ffff - - special IPv4-compatible
::1:0:0 ::fffe:ffff:ffff - - special reserved
::ffff:0.0.0.0 ::ffff:0.255.255.255 - ::ffff:1.0.0.0 special unspecified
::ffff:10.0.0.0 ::ffff:10.255.255.255 ::ffff:9.255.255.255 ::ffff:11.0.0.0 private private
64:ff9b::10.0.0.0 64:ff9b::10.255.255.255 64:ff9b::9.255.255.255 64:ff9b::11.0.0.0 private private
64:ff9b:1:: 64:ff9b:1:ffff:ffff:ffff:ffff:ffff - - special local NAT64
100:: 100::ffff:ffff:ffff:ffff - - special discard
2001:: 2001:0:ffff:ffff:ffff:ffff:ffff:ffff - - special Teredo
2001:1:: 2001:1:ffff:ffff:ffff:ffff:ffff:ffff - - special reserved
2001:2:: 2001:2:0:ffff:ffff:ffff:ffff:ffff - - private benchmarking
2001:10:: 2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff - 2001:200:: special reserved
2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9:: special documentation
2002:: 2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2003:: special 6to4
3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff 3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:1000:: special documentation
4000:: fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff - special reserved
fc00:: fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff - - private unique local
fe00:: fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff - - special reserved
fe80:: febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff - - private link-local
fec0:: feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff - - private site-local
ff00:: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff - - special multicast
";

#[test]
fn first_and_last_of_every_range() {
    let (public, private) = (
        EgressPolicy::default(),
        EgressPolicy::default().allow_private(true),
    );
    for line in RANGES.trim().lines() {
        let [first, last, before, after, private_or, what] = line
            .splitn(6, ' ')
            .collect::<Vec<_>>()
            .try_into()
            .expect(line);
        for text in [first, last] {
            let refusal = public.check_addr(ip(text)).expect_err(text).to_string();
            let named = format!("{} is a {what} address", ip(text));
            assert!(refusal.starts_with(&named), "{refusal}, not {named}");
            assert!(refusal.contains("DECNET_WEBHOOK_ALLOW_CIDRS"), "{refusal}");
            let passes = private_or == "private";
            let offered = refusal.contains("DECNET_WEBHOOK_ALLOW_PRIVATE=true");
            assert_eq!(offered, passes, "{refusal}");
            assert_eq!(private.check_addr(ip(text)).is_ok(), passes, "{text}");
        }
        for text in [before, after].into_iter().filter(|&text| text != "-") {
            assert_eq!(public.check_addr(ip(text)), Ok(()), "{text}");
        }
    }
}

#[test]
fn public_addresses_pass() {
    for text in [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.215.14",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001:80b::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ] {
        assert_eq!(
            EgressPolicy::default().check_addr(ip(text)),
            Ok(()),
            "{text}"
        );
    }
}

#[test]
fn metadata_is_refused_under_every_policy_and_in_every_spelling() {
    let open = cidrs(&["0.0.0.0/0", "::/0"]).allow_private(true);
    for text in [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "169.254.169.252",
        "169.254.169.250",
        "169.254.0.23",
        "169.254.42.42",
        "fd00:c1::a9fe:a9fe",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
        "fd00:42::42",
        "fe80::a9fe:a9fe",
        "::ffff:169.254.0.23",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b::168.63.129.16",
        // Local NAT64 with prefixes of 48, 56, 64 and 96 bits.
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00:0",
        "64:ff9b:1::169.254.169.254",
        "2002:a9fe:a9fe::1",
        // Stateless translation, and ISATAP under any prefix.
        "::ffff:0:169.254.169.254",
        "2600::5efe:169.254.169.254",
        "fe80::200:5efe:100.100.100.200",
        // Teredo: as server, and inverted as client.
        "2001:0:a9fe:a9fe::",
        "2001:0:4136:e378:8000:63bf:5601:5601",
    ] {
        let refusal = open.check_addr(ip(text)).expect_err(text).to_string();
        assert!(
            refusal.contains("cloud metadata") && refusal.ends_with(METADATA),
            "{refusal}"
        );
        assert!(!refusal.contains("DECNET_"), "{refusal}");
    }
}

#[test]
fn listed_networks_pass_and_no_others() {
    let policy = cidrs(&["10.20.0.0/16", "fd12::/16", "2002::/16", "224.0.0.0/4"]);
    for text in [
        "10.20.0.0",
        "10.20.255.255",
        "::ffff:10.20.1.1",
        "64:ff9b::10.20.1.1",
        "fd12::1",
        "2002:102:304::1",
        "224.0.0.1",
        "8.8.8.8",
    ] {
        assert_eq!(policy.check_addr(ip(text)), Ok(()), "{text}");
    }
    for text in [
        "10.19.255.255",
        "10.21.0.0",
        "127.0.0.1",
        "::1",
        "fd13::1",
        "2002:a9fe:a9fe::",
    ] {
        assert!(policy.check_addr(ip(text)).is_err(), "{text}");
    }
}

#[test]
fn the_refusal_says_what_to_set() {
    let text = EgressPolicy::default()
        .check_addr(ip("10.1.2.3"))
        .unwrap_err();
    assert_eq!(
        text.to_string(),
        "10.1.2.3 is a private address; to allow it, add 10.1.2.3/32 to \
         DECNET_WEBHOOK_ALLOW_CIDRS or set DECNET_WEBHOOK_ALLOW_PRIVATE=true"
    );
    let mapped = EgressPolicy::default()
        .check_addr(ip("::ffff:10.1.2.3"))
        .unwrap_err();
    assert!(mapped.to_string().contains("add 10.1.2.3/32 to"));
    let multicast = EgressPolicy::default()
        .check_addr(ip("ff02::1"))
        .unwrap_err();
    assert!(
        multicast
            .to_string()
            .ends_with("add ff02::1/128 to DECNET_WEBHOOK_ALLOW_CIDRS")
    );
}

#[test]
fn urls_in_disguise() {
    let policy = EgressPolicy::default();
    for url in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "https://[::1]:8443/",
        "https://[::ffff:7f00:1]/",
        "http://localhost/",
        "http://LOCALHOST:9000/",
        "http://localhost./",
        "http://a.b.localhost/",
        "http://ip6-localhost/",
        "http://0/",
    ] {
        let refusal = check(&policy, url).expect_err(url);
        assert!(refusal.contains("DECNET_WEBHOOK_ALLOW_CIDRS"), "{refusal}");
    }
    for url in [
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://METADATA.google.internal./",
        "http://metadata/",
        "http://instance-data/latest/",
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/",
    ] {
        let refusal = check(&policy.clone().allow_private(true), url).expect_err(url);
        assert!(refusal.ends_with(METADATA), "{refusal}");
    }
    // Names are checked once they are resolved.
    assert_eq!(check(&policy, "https://hooks.example/"), Ok(()));
    assert_eq!(check(&policy, "https://localhost.example/"), Ok(()));
}

#[test]
fn localhost_passes_where_one_of_its_addresses_does() {
    assert_eq!(check(&cidrs(&["127.0.0.0/8"]), "http://localhost/"), Ok(()));
    assert_eq!(check(&cidrs(&["::1/128"]), "http://localhost/"), Ok(()));
    let private = EgressPolicy::default().allow_private(true);
    assert_eq!(check(&private, "http://localhost/"), Ok(()));
}

#[test]
fn of_a_mix_only_the_allowed_remain() {
    let policy = EgressPolicy::default();
    let mixed = ["10.0.0.1", "8.8.8.8", "::1", "169.254.169.254"].map(ip);
    assert_eq!(
        policy.permitted("a.example", &mixed),
        Ok(vec![ip("8.8.8.8")])
    );
    let refusal = policy.permitted("a.example", &mixed[2..]).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "a.example resolves to ::1, a loopback address; to allow it, add ::1/128 to \
         DECNET_WEBHOOK_ALLOW_CIDRS or set DECNET_WEBHOOK_ALLOW_PRIVATE=true"
    );
    assert_eq!(policy.permitted("a.example", &[]), Ok(Vec::new()));
}

proptest::proptest! {
    /// What an IPv6 spelling leads to is judged like the IPv4 address itself.
    #[test]
    fn spellings_agree(bits: u32) {
        let v4 = Ipv4Addr::from(bits);
        let [a, b] = [(bits >> 16) as u16, bits as u16];
        let policy = cidrs(&["10.20.0.0/16"]).allow_private(bits % 2 == 0);
        let expected = policy.check_addr(v4.into()).is_ok();
        let mapped = policy.check_addr(v4.to_ipv6_mapped().into()).is_ok();
        let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b);
        proptest::prop_assert_eq!(mapped, expected);
        proptest::prop_assert_eq!(policy.check_addr(nat64.into()).is_ok(), expected);
    }
}
