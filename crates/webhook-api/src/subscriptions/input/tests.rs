use super::*;

fn created(body: &str) -> Result<NewSubscription, Problem> {
    create(body.as_bytes(), &EgressPolicy::default())
}

fn patched(body: &str) -> Result<SubscriptionPatch, Problem> {
    patch(body.as_bytes(), &EgressPolicy::default()).map(Patch::without_settings)
}

fn texts(patterns: &[TopicPattern]) -> Vec<&str> {
    patterns.iter().map(TopicPattern::as_str).collect()
}

#[test]
fn defaults_of_a_create() {
    let new =
        created(r#"{"name":"n","url":"HTTPS://Siem.Example","topic_patterns":["a.>"]}"#).unwrap();
    assert_eq!(new.url.as_str(), "https://siem.example/");
    assert!(new.enabled);
    assert!(new.secret.expose().starts_with("whsec_"));
}

#[test]
fn lists_are_merged() {
    let new = created(
        r#"{"name":"n","url":"https://siem.example","simple_events":["DeckyStatus"],"topic_patterns":["x","decky.*.state"],"secret":null,"enabled":false}"#,
    )
    .unwrap();
    assert_eq!(
        texts(&new.topic_patterns),
        ["decky.*.state", "decky.*.traffic", "x"]
    );
    assert!(!new.enabled);
}

#[test]
fn a_subscription_asks_for_something() {
    for lists in [
        "",
        r#","topic_patterns":[]"#,
        r#","simple_events":[],"topic_patterns":null"#,
    ] {
        let body = format!(r#"{{"name":"n","url":"https://siem.example"{lists}}}"#);
        assert!(matches!(created(&body), Err(Problem::NoPattern)), "{body}");
    }
    for body in [
        r#"{"topic_patterns":[]}"#,
        r#"{"simple_events":[]}"#,
        r#"{"simple_events":[],"topic_patterns":null}"#,
    ] {
        assert!(
            matches!(patched(body), Err(Problem::PatternsCleared)),
            "{body}"
        );
    }
}

#[test]
fn a_patch_leaves_alone_what_it_does_not_name() {
    let patch = patched(r#"{"name":null,"topic_patterns":null}"#).unwrap();
    assert!(patch.name.is_none() && patch.topic_patterns.is_none() && patch.enabled.is_none());
    let patch = patched(r#"{"simple_events":["SystemStatus"],"topic_patterns":[]}"#).unwrap();
    assert_eq!(texts(&patch.topic_patterns.unwrap()), ["system.>"]);
}

#[test]
fn wrong_values_never_show_a_secret() {
    let Err(problem) = created(
        r#"{"name":"n","url":"https://u:hunter2hunter2@siem.example","secret":"hunter2","topic_patterns":["a"]}"#,
    ) else {
        panic!("taken");
    };
    let text = format!("{problem:?}");
    assert!(text.contains("secret has 7 characters"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}
