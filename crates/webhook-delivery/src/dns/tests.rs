use proptest::prelude::*;

use super::*;

proptest! {
    /// Every name of such labels is asked for as it is, in the search domains unless it ends with
    /// a dot; no other name is asked for at all.
    #[test]
    fn names_are_asked_for_as_they_are(
        labels in proptest::collection::vec("[!-\\-/-~]{1,70}", 1..6),
        is_absolute: bool,
    ) {
        let name = labels.join(".") + if is_absolute { "." } else { "" };
        let fits = labels.iter().all(|label| label.len() <= 63)
            && labels.iter().map(|label| label.len() + 1).sum::<usize>() < 255;
        let plain = plain_name(&name);
        prop_assert_eq!(plain.is_ok(), fits, "{} {:?}", name, plain);
        if let Ok(plain) = plain {
            prop_assert_eq!(plain.is_fqdn(), is_absolute);
            let asked: Vec<&[u8]> = plain.iter().collect();
            prop_assert_eq!(asked, labels.iter().map(String::as_bytes).collect::<Vec<_>>());
        }
    }
}

async fn resolve(policy: EgressPolicy, name: &str) -> Result<Vec<IpAddr>, String> {
    let resolver = GuardedResolver::new(policy, Vec::new());
    resolver.permitted(name).await.map_err(|error| match error {
        ResolveError::Refused(refusal) => refusal.to_string(),
        ResolveError::Dns(error) => error.to_string(),
    })
}

#[tokio::test]
async fn localhost_is_refused_or_loopback() {
    for name in ["localhost", "a.localhost"] {
        let refusal = resolve(EgressPolicy::default(), name).await.unwrap_err();
        assert!(
            refusal.starts_with(&format!("{name} resolves to ")),
            "{refusal}"
        );
        assert!(refusal.contains("a loopback address"), "{refusal}");
        let v4 = vec!["127.0.0.0/8".parse().unwrap()];
        let addrs = resolve(EgressPolicy::default().allow_cidrs(v4), name).await;
        assert_eq!(addrs, Ok(vec!["127.0.0.1".parse::<IpAddr>().unwrap()]));
    }
}

#[tokio::test]
async fn metadata_names_are_not_even_asked_for() {
    let open = EgressPolicy::default().allow_private(true);
    let refusal = resolve(open, "metadata.google.internal").await.unwrap_err();
    assert!(refusal.contains("cloud metadata"), "{refusal}");
}
