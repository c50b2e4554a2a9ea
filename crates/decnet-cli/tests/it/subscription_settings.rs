use serde_json::{Value, json};
use webhook_testkit::{Behaviour, Receiver};

use crate::support::{Decnet, Listen, data_dir, decnet, finish, run, stderr, stdout, succeeded};

#[tokio::test]
async fn settings_are_given_shown_and_changed_and_header_values_stay_hidden() {
    let dir = data_dir();
    let _decnet = Decnet::serve(dir.path()).await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    receiver.trust(Listen::SECRET);

    let flags = "subs create --name siem --pattern attacker.> --max-in-flight 8 --rate 100 \
                 --burst 5 --ordered --timeout 20s --schedule 30s,2m,1h30m \
                 --header-env Authorization=SIEM_TOKEN";
    let flags = flags.split_whitespace();
    let url = receiver.url();
    let rest = [
        "--header",
        "X-Site: hq",
        "--url",
        &url,
        "--secret",
        Listen::SECRET,
    ];
    let mut create = decnet(dir.path(), flags.chain(rest));
    let made = finish(create.env("SIEM_TOKEN", "Bearer hunter2")).await;
    succeeded(&made);

    let shown = succeeded(&run(dir.path(), &["subs", "show", "siem"]).await);
    for line in [
        "max in flight      8\n",
        "rate               100 attempts a second, 5 at once\n",
        "ordered            yes\n",
        "timeout            20s\n",
        "schedule           30s,2m,1h30m\n",
        "header             authorization: ***\n",
        "header             x-site: ***\n",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");

    let update = "subs update siem --ordered=false --rate 0 --schedule none --remove-header X-Site \
                  --header";
    let update = update.split_whitespace().chain(["X-Zone: z1", "--json"]);
    let output = finish(&mut decnet(dir.path(), update)).await;
    let changed: Value = serde_json::from_str(&succeeded(&output)).unwrap();
    assert_eq!(changed["ordered"], false);
    assert_eq!(changed["redelivery_schedule"], json!([]));
    assert_eq!(changed["timeout_seconds"], 20, "what is not named stays");
    assert_eq!(
        changed["headers"],
        json!({"authorization": "***", "x-zone": "***"})
    );

    // The value that was kept without being known is what is sent.
    succeeded(&run(dir.path(), &["subs", "test", "siem"]).await);
    let ping = receiver.received().remove(0);
    assert_eq!(ping.header("authorization"), Some("Bearer hunter2"));
    assert_eq!(ping.header("x-zone"), Some("z1"));
    assert_eq!(ping.header("x-site"), None);

    let clear = ["subs", "update", "siem", "--clear-headers", "--json"];
    let output = run(dir.path(), &clear).await;
    let changed: Value = serde_json::from_str(&succeeded(&output)).unwrap();
    assert_eq!(changed["headers"], json!({}));
}

#[tokio::test]
async fn what_is_out_of_bounds_is_named_field_by_field() {
    let dir = data_dir();
    let _decnet = Decnet::serve(dir.path()).await;
    let flags = "subs create --name siem --url https://siem.example/ --pattern > --timeout 61s \
                 --rate 10001 --header host:x";
    let output = finish(&mut decnet(dir.path(), flags.split_whitespace())).await;
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let text = stderr(&output);
    for field in ["timeout_seconds 61 ", "rate_per_second ", "headers.host: "] {
        assert!(text.contains(&format!("\n  {field}")), "{field}: {text}");
    }

    for wrong in [
        "--timeout 1500ms",
        "--schedule 30s,soon",
        "--ordered=perhaps",
    ] {
        let line = format!("subs update siem {wrong}");
        let output = finish(&mut decnet(dir.path(), line.split_whitespace())).await;
        assert_eq!(
            output.status.code(),
            Some(2),
            "{wrong}: {}",
            stderr(&output)
        );
    }
}

#[tokio::test]
async fn what_is_missing_is_said_with_its_flag() {
    let dir = data_dir();
    let _decnet = Decnet::serve(dir.path()).await;
    for (rest, code, said) in [
        ("", 1, "--pattern, e.g. 'attacker.>'"),
        ("--pattern > --rate -1", 2, "'-1' for '--rate <N>'"),
        (
            "--pattern > --header-env X-Key=NOWHERE",
            1,
            "--header-env X-Key=NOWHERE: neither NOWHERE nor NOWHERE_FILE is set",
        ),
    ] {
        let line = format!("subs create --name siem --url https://siem.example/ {rest}");
        let output = finish(&mut decnet(dir.path(), line.split_whitespace())).await;
        assert_eq!(output.status.code(), Some(code), "{rest}");
        let text = stderr(&output);
        assert!(text.contains(said), "{rest}: {text}");
    }
}

#[tokio::test]
async fn pausing_resuming_and_renaming_are_verbs() {
    let dir = data_dir();
    let running = Decnet::serve(dir.path()).await;
    let api = running.api().await;
    let url = "https://siem.example/";
    api.subscribe("siem", url, Listen::SECRET, &["canary.>"])
        .await;
    for (line, said, state) in [
        ("subs disable siem", "paused siem\n", "paused"),
        ("subs resume siem", "enabled siem\n", "active"),
        ("subs rename siem ops", "renamed to ops\n", "active"),
    ] {
        let output = finish(&mut decnet(dir.path(), line.split_whitespace())).await;
        assert_eq!(succeeded(&output), said, "{line}");
        let table = succeeded(&run(dir.path(), &["subs", "list"]).await);
        assert!(table.contains(state), "{line}: {table}");
    }
    let gone = run(dir.path(), &["subs", "enable", "siem"]).await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains("decnet subscriptions list"));
}
