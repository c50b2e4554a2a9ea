use serde_json::Value;

use crate::support::{Decnet, Listen, data_dir, run, stderr, stdout, succeeded};

#[tokio::test]
async fn a_subscription_lives_its_life_at_the_command_line() {
    let dir = data_dir();
    let _decnet = Decnet::serve(dir.path()).await;
    let listen = Listen::start(dir.path(), &[]).await;

    let none = run(dir.path(), &["subscriptions", "list"]).await;
    succeeded(&none);
    assert!(
        stderr(&none).contains("no subscriptions yet"),
        "{}",
        stderr(&none)
    );

    let create = ["subs", "create", "--name", "siem", "--url", listen.url()];
    let made = run(
        dir.path(),
        &[&create[..], &["--event", "AttackerDetail"]].concat(),
    )
    .await;
    let text = succeeded(&made);
    let secret = text
        .lines()
        .find_map(|line| line.strip_prefix("secret: "))
        .unwrap();
    assert!(secret.starts_with("whsec_"), "{text}");
    assert!(stderr(&made).contains("decnet listen"), "{}", stderr(&made));
    assert!(stderr(&made).contains("insecure_url:"), "{}", stderr(&made));

    let again = run(
        dir.path(),
        &[&create[..], &["--pattern", "attacker.>"]].concat(),
    )
    .await;
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("Webhook name already exists (409)"),
        "{}",
        stderr(&again)
    );

    let table = succeeded(&run(dir.path(), &["subscriptions", "list"]).await);
    assert!(table.starts_with("NAME"), "{table}");
    assert!(
        table.contains("siem") && table.contains("active"),
        "{table}"
    );
    assert!(
        !table.contains(secret) && !table.contains('\x1b'),
        "{table}"
    );

    // The listener has another secret, so its answer is 401.
    let test = run(dir.path(), &["subscriptions", "test", "siem"]).await;
    assert_eq!(test.status.code(), Some(1), "{}", stdout(&test));
    assert!(
        stdout(&test).contains("not delivered (HTTP 401)"),
        "{}",
        stdout(&test)
    );

    let update = [
        "subscriptions",
        "update",
        "siem",
        "--secret",
        Listen::SECRET,
    ];
    succeeded(&run(dir.path(), &update).await);
    let test = succeeded(&run(dir.path(), &["subscriptions", "test", "siem"]).await);
    assert!(test.contains("delivered (HTTP 204)"), "{test}");
    let ping = listen.wait_for(|row| row["verified"] == true).await;
    assert_eq!(ping["topic"], "test.ping");

    let update = [
        "subscriptions",
        "update",
        "siem",
        "--disable",
        "--pattern",
        "canary.>",
        "--json",
    ];
    let changed: Value = serde_json::from_str(&succeeded(&run(dir.path(), &update).await)).unwrap();
    assert_eq!(changed["enabled"], false);
    assert_eq!(changed["topic_patterns"], serde_json::json!(["canary.>"]));

    let uuid = changed["uuid"].as_str().unwrap();
    let shown = succeeded(&run(dir.path(), &["subscriptions", "show", uuid]).await);
    assert!(
        shown.contains("paused") && shown.contains("canary.>"),
        "{shown}"
    );

    succeeded(&run(dir.path(), &["subscriptions", "delete", "siem"]).await);
    let gone = run(dir.path(), &["subscriptions", "show", uuid]).await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(
        stderr(&gone).contains("no subscription has the id or name"),
        "{}",
        stderr(&gone)
    );
}

#[tokio::test]
async fn wrong_fields_are_all_named() {
    let dir = data_dir();
    let _decnet = Decnet::serve(dir.path()).await;
    let output = run(
        dir.path(),
        &[
            "subs",
            "create",
            "--name",
            "",
            "--url",
            "ftp://x",
            "--pattern",
            "a..b",
            "--secret",
            "x",
        ],
    )
    .await;
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for field in ["name has ", "url: ", "topic_patterns", "secret has "] {
        assert!(text.contains(&format!("\n  {field}")), "{field}: {text}");
    }
}
