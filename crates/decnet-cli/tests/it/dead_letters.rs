use std::path::Path;

use serde_json::{Value, json};
use webhook_testkit::{Behaviour, Receiver};

use crate::support::{
    Decnet, Listen, PATIENCE, Scrape, data_dir, decnet, finish, stderr, stdout, succeeded,
};

/// Words of a command line; what has spaces in it comes after.
async fn cli(dir: &Path, line: &str, rest: &[&str]) -> std::process::Output {
    let words = line.split_whitespace().chain(rest.iter().copied());
    finish(&mut decnet(dir, words)).await
}

async fn json_of(dir: &Path, line: &str) -> Value {
    let text = succeeded(&cli(dir, line, &["--json"]).await);
    serde_json::from_str(&text).expect("--json is JSON")
}

/// Waits until a list has that many rows.
async fn rows(dir: &Path, line: &str, count: usize) -> Vec<Value> {
    let enough = async {
        loop {
            let list = json_of(dir, line).await;
            let rows = list["items"].as_array().expect("a list").clone();
            if rows.len() == count {
                return rows;
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, enough).await;
    found.unwrap_or_else(|_| panic!("{line}: never {count} rows"))
}

#[tokio::test]
async fn a_receiver_that_refused_is_mended_and_gets_each_event_once() {
    let dir = data_dir();
    let dir = dir.path();
    let running = Decnet::serve(dir).await;
    let api = running.api().await;
    // Its schema has changed, and nobody told it.
    let receiver = Receiver::start(Behaviour::status(400)).await;
    receiver.trust(Listen::SECRET);
    api.subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
        .await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(
            api.publish("attacker.observed", json!({"n": n, "big": 7}))
                .await,
        );
    }
    let dead = rows(dir, "dead-letters list --subscription siem", 3).await;

    let table = cli(
        dir,
        "dead-letters list --since 1h --error",
        &["non-retryable 400"],
    )
    .await;
    assert!(stderr(&table).contains("in all: 3") || stderr(&table).contains("subscriptions: 3"));
    let table = succeeded(&table);
    assert!(table.starts_with("ID"), "{table}");
    assert_eq!(table.matches("siem").count(), 3, "by name: {table}");
    assert_eq!(table.matches("non-retryable 400").count(), 3, "{table}");

    let id = dead[0]["id"].to_string();
    let shown = succeeded(&cli(dir, "deliveries show", &[&id]).await);
    let event = dead[0]["event_id"].as_str().expect("an id");
    for part in [
        "siem (",
        event,
        "failed attempts",
        "\n      received\n",
        "HTTP 400",
        "\n    \"big\": 7,\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    receiver.behave(Behaviour::ok());
    let refused = receiver.count();
    let dry = succeeded(&cli(dir, "replay --subscription siem --dry-run", &[]).await);
    assert!(
        dry.contains("WOULD BE REPLAYED") && dry.contains('3'),
        "{dry}"
    );
    assert_eq!(receiver.count(), refused, "a dry run sends nothing");
    let none = cli(dir, "replay --subscription siem --until 1h --dry-run", &[]).await;
    succeeded(&none);
    assert!(
        stderr(&none).contains("nothing matches"),
        "{}",
        stderr(&none)
    );

    let waited = succeeded(&cli(dir, "replay --subscription siem --wait", &[]).await);
    assert_eq!(waited, "queued again 3 of 3 for siem\n");
    rows(
        dir,
        "deliveries list --subscription siem --status delivered",
        3,
    )
    .await;
    for id in &ids {
        assert_eq!(receiver.log(|log| log.times(id)), 1, "taken once");
        let came = receiver.received();
        let came = came.iter().filter(|one| one.event_id() == Some(id)).count();
        assert_eq!(came, 2, "refused once, taken once, under the same id");
    }
    assert_eq!(receiver.log(|log| (log.taken(), log.duplicates())), (3, 0));
    let none = cli(dir, "dead-letters list", &[]).await;
    assert!(
        stderr(&none).contains("no dead letters match"),
        "{}",
        stderr(&none)
    );
}

#[tokio::test]
async fn single_ones_and_those_of_all_subscriptions_are_sent_again() {
    let dir = data_dir();
    let dir = dir.path();
    let running = Decnet::serve(dir).await;
    let api = running.api().await;
    let receiver = Receiver::start(Behaviour::status(404)).await;
    for name in ["one", "two"] {
        let url = receiver.url_of(&format!("/{name}"));
        api.subscribe(name, &url, Listen::SECRET, &["attacker.>"])
            .await;
    }
    receiver.trust(Listen::SECRET);
    api.publish("attacker.observed", json!({})).await;
    api.publish("attacker.seen", json!({})).await;
    let dead = rows(dir, "dead-letters list", 4).await;
    receiver.behave(Behaviour::ok());

    let id = dead[0]["id"].to_string();
    let said = cli(dir, "dead-letters replay", &[&id, "4711"]).await;
    assert_eq!(said.status.code(), Some(1), "one of them is not there");
    assert_eq!(stdout(&said), format!("due now {id}\n"));
    assert!(stderr(&said).contains("4711: "), "{}", stderr(&said));
    rows(dir, "deliveries list --status delivered", 1).await;
    let again = cli(dir, "deliveries retry", &[&id]).await;
    assert!(stderr(&again).contains("(409)"), "{}", stderr(&again));

    let job = json_of(dir, "dead-letters replay --all --yes").await;
    let jobs = job["items"].as_array().expect("a job each");
    assert_eq!(
        jobs.iter()
            .filter_map(|job| job["matched"].as_u64())
            .sum::<u64>(),
        3
    );
    let job = jobs[0]["id"].as_str().expect("an id");
    let told = succeeded(&cli(dir, "replay show --wait", &[job]).await);
    assert!(told.starts_with("queued again"), "{told}");
    rows(dir, "deliveries list --status delivered --limit 3", 3).await;
    rows(dir, "deliveries list --status delivered", 4).await;
    assert_eq!(receiver.log(|log| log.taken()), 4);
}

#[tokio::test]
async fn lists_follow_pages_up_to_the_limit_and_go_on_after_it() {
    let dir = data_dir();
    let dir = dir.path();
    let running = Decnet::serve(dir).await;
    let api = running.api().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    receiver.trust(Listen::SECRET);
    api.subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
        .await;
    let count = 620;
    let events: Vec<Value> = (0..count)
        .map(|n| json!({"topic": "attacker.observed", "payload": {"n": n}}))
        .collect();
    let taken = api
        .ask(reqwest::Method::POST, "/api/v1/events", Some(events.into()))
        .await;
    assert_eq!(taken.0, 202, "{}", taken.1);
    rows(
        dir,
        "deliveries list --status delivered --limit 1000",
        count,
    )
    .await;

    let first = json_of(dir, "deliveries list --topic attacker.* --limit 610").await;
    assert_eq!(first["items"].as_array().map(Vec::len), Some(610));
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let rest = cli(dir, "deliveries list --json --cursor", &[cursor]).await;
    let rest: Value = serde_json::from_str(&succeeded(&rest)).unwrap();
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(10));
    assert_eq!(rest["next_cursor"], Value::Null);

    let table = cli(dir, "deliveries list --limit 5", &[]).await;
    assert_eq!(succeeded(&table).lines().count(), 6);
    assert!(
        stderr(&table).contains("--limit shows more"),
        "{}",
        stderr(&table)
    );
}

#[tokio::test]
async fn what_an_operator_is_done_with_is_purged() {
    let dir = data_dir();
    let dir = dir.path();
    let running = Decnet::serve(dir).await;
    let api = running.api().await;
    let receiver = Receiver::start(Behaviour::status(400)).await;
    for name in ["siem", "mail", "gone"] {
        api.subscribe(name, &receiver.url(), Listen::SECRET, &["attacker.>"])
            .await;
    }
    api.publish("attacker.observed", json!({})).await;
    rows(dir, "dead-letters list", 3).await;
    succeeded(&cli(dir, "subscriptions delete gone --yes", &[]).await);
    rows(dir, "dead-letters list", 3).await;

    let purge = async |line: &str, removed: &str| {
        let said = succeeded(&cli(dir, &format!("dead-letters purge {line}"), &[]).await);
        assert_eq!(said.trim(), format!("removed {removed}"), "{line}");
    };
    purge("--orphans", "1").await;
    purge("--orphans", "0").await;
    purge("--subscription siem --error nothing-of-that-kind", "0").await;
    purge("--subscription siem --since 1h", "1").await;
    rows(dir, "dead-letters list", 1).await;
    let bare = cli(dir, "dead-letters purge", &[]).await;
    assert_eq!(bare.status.code(), Some(2), "{}", stderr(&bare));
    let purged = json_of(dir, "dead-letters purge --all").await;
    assert_eq!(purged, json!({"purged": 1}));
    rows(dir, "dead-letters list", 0).await;
}

#[tokio::test]
async fn what_an_operator_has_seen_alarms_nobody_and_is_kept() {
    let dir = data_dir();
    let dir = dir.path();
    let running = Decnet::serve(dir).await;
    let api = running.api().await;
    let receiver = Receiver::start(Behaviour::status(400)).await;
    for name in ["siem", "mail", "gone"] {
        api.subscribe(name, &receiver.url(), Listen::SECRET, &["attacker.>"])
            .await;
    }
    api.publish("attacker.observed", json!({})).await;
    let dead = rows(dir, "dead-letters list", 3).await;
    succeeded(&cli(dir, "subscriptions delete gone --yes", &[]).await);
    let alarms = async |waiting: u64, seen: u64| {
        let told = json_of(dir, "status").await["deliveries"].clone();
        assert_eq!(
            (&told["dead"], &told["dead_acknowledged"]),
            (&json!(waiting), &json!(seen))
        );
        // What a scrape has read serves others for a moment.
        let counted = async {
            loop {
                let page = Scrape::of(running.url()).await;
                let read =
                    |name: &str| page.get(&format!("decnet_webhook_dead_letters{name}"), &[]);
                if (read(""), read("_acknowledged")) == (Some(waiting as f64), Some(seen as f64)) {
                    return;
                }
            }
        };
        let counted = tokio::time::timeout(PATIENCE, counted).await;
        counted.unwrap_or_else(|_| panic!("never {waiting} and {seen}"));
    };
    alarms(3, 0).await;

    assert!(dead.iter().all(|row| row["acknowledged_at"].is_null()));
    let acknowledge = async |line: &str, said: &str| {
        let output = cli(dir, &format!("dead-letters acknowledge {line}"), &[]).await;
        assert_eq!(
            succeeded(&output),
            format!("acknowledged {said}\n"),
            "{line}"
        );
    };
    acknowledge("--orphans", "1").await;
    acknowledge("--orphans", "0").await;
    acknowledge("--all --error nothing-of-that-kind", "0").await;
    acknowledge("--all --until 1h", "0").await;
    acknowledge("-s siem", "1").await;
    let unseen = rows(dir, "dead-letters list --unacknowledged", 1).await;
    let id = unseen[0]["id"].to_string();
    acknowledge(&id, &id).await;
    alarms(0, 3).await;
    rows(dir, "dead-letters list --acknowledged", 3).await;
    let said = succeeded(&cli(dir, "status", &[]).await);
    assert!(said.contains("0, and 3 that were acknowledged"), "{said}");
    let table = succeeded(&cli(dir, "dead-letters list", &[]).await);
    assert_eq!(table.matches("dead, acknowledged").count(), 3, "{table}");
    let shown = succeeded(&cli(dir, "deliveries show", &[&id]).await);
    assert!(shown.contains("acknowledged "), "{shown}");

    let missing = cli(dir, "dead-letters acknowledge 4711", &[]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("4711: "), "{}", stderr(&missing));
    let bare = cli(dir, "dead-letters acknowledge", &[]).await;
    assert_eq!(bare.status.code(), Some(2), "{}", stderr(&bare));

    // Sent again, it dies again, and nobody has seen that.
    succeeded(&cli(dir, "dead-letters replay", &[&id]).await);
    let died = rows(dir, "dead-letters list --unacknowledged", 1).await;
    assert_eq!(died[0]["id"].to_string(), id);
    alarms(1, 2).await;
    let all = json_of(dir, "dead-letters acknowledge --all").await;
    assert_eq!(all, json!({"acknowledged": 1}));
    receiver.behave(Behaviour::ok());
    receiver.trust(Listen::SECRET);
    succeeded(&cli(dir, "deliveries retry", &[&id]).await);
    let arrived = rows(dir, "deliveries list --status delivered", 1).await;
    assert_eq!(arrived[0]["acknowledged_at"], Value::Null);
    let purge = "dead-letters purge --all --acknowledged";
    assert_eq!(json_of(dir, purge).await, json!({"purged": 2}));
    alarms(0, 0).await;
}

#[tokio::test]
async fn what_a_deleted_subscription_left_is_sent_to_another_once() {
    const OTHER: &str = "whsec_b3RoZXItc2VjcmV0LW90aGVyLXNlY3JldC1vdGhlciE=";
    let dir = data_dir();
    let dir = dir.path();
    let running = Decnet::serve(dir).await;
    let api = running.api().await;
    let broken = Receiver::start(Behaviour::status(400)).await;
    let heir = Receiver::start(Behaviour::ok()).await;
    heir.trust(OTHER);
    api.subscribe("old", &broken.url(), Listen::SECRET, &["attacker.>"])
        .await;
    // It has the third event by itself.
    api.subscribe("heir", &heir.url(), OTHER, &["attacker.seen"])
        .await;
    let mut ids = Vec::new();
    for (topic, n) in [("observed", 1), ("observed", 2), ("seen", 3)] {
        let payload = json!({"n": n, "big": 7});
        ids.push(api.publish(&format!("attacker.{topic}"), payload).await);
    }
    let dead = rows(dir, "dead-letters list --subscription old", 3).await;
    rows(dir, "deliveries list -s heir --status delivered", 1).await;
    let old = dead[0]["subscription"].as_str().expect("a uuid").to_owned();
    let from = format!("replay --subscription heir --from {old}");
    let there = cli(dir, &from, &[]).await;
    assert_eq!(there.status.code(), Some(1));
    assert!(
        stderr(&there).contains("delete it first"),
        "{}",
        stderr(&there)
    );
    succeeded(&cli(dir, "subscriptions delete old --yes", &[]).await);
    for (line, code, said) in [
        (format!("replay --from {old}"), 2, "--subscription"),
        (
            format!("replay --all --from {old}"),
            2,
            "cannot be used with",
        ),
        (
            "replay -s heir --from 0f8fad5b-d9cb-469f-a165-70867728950e".to_owned(),
            1,
            "no dead letters of a subscription",
        ),
        (format!("{from} --status delivered"), 1, "needs status dead"),
    ] {
        let output = cli(dir, &line, &[]).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{line}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(said),
            "{line}: {}",
            stderr(&output)
        );
    }
    let none = cli(dir, &format!("{from} --until 1h"), &[]).await;
    assert!(
        stderr(&none).contains("nothing matches"),
        "{}",
        stderr(&none)
    );

    let waited = cli(dir, &format!("dead-letters {from} --wait"), &[]).await;
    assert_eq!(succeeded(&waited), "queued again 2 of 3 for heir\n");
    let said = stderr(&waited);
    assert!(said.contains("1 left where they are: heir has"), "{said}");
    let arrived = rows(dir, "deliveries list -s heir --status delivered", 3).await;
    assert!(
        arrived
            .iter()
            .all(|row| ids.iter().any(|id| row["event_id"] == **id))
    );
    assert_eq!(heir.log(|log| (log.taken(), log.duplicates())), (3, 0));
    let bodies = |receiver: &Receiver, id: &str| {
        let received = receiver.received();
        let mine = received.iter().find(|it| it.event_id() == Some(id));
        mine.expect("it came").body.clone()
    };
    for id in &ids {
        assert_eq!(bodies(&broken, id), bodies(&heir, id), "the same bytes");
    }
    assert!(
        heir.received().iter().all(|it| it.is_verified()),
        "with its own secret"
    );

    // Once more: nothing comes twice, and what is left can be purged.
    let again = cli(dir, &format!("{from} --wait"), &[]).await;
    assert_eq!(succeeded(&again), "queued again 0 of 1 for heir\n");
    rows(dir, &format!("dead-letters list -s {old}"), 1).await;
    let purge = format!("dead-letters purge --subscription {old}");
    assert_eq!(json_of(dir, &purge).await, json!({"purged": 1}));
    assert_eq!(heir.log(|log| (log.taken(), log.duplicates())), (3, 0));
}

#[tokio::test]
async fn what_is_wrong_is_said_with_the_remedy() {
    let dir = data_dir();
    let dir = dir.path();
    let away = cli(dir, "status", &[]).await;
    assert_eq!(away.status.code(), Some(1));
    assert!(stderr(&away).contains("DECNET_TOKEN"), "{}", stderr(&away));

    let running = Decnet::serve(dir).await;
    for (line, rest, code, said) in [
        (
            "deliveries list -s nobody",
            [].as_slice(),
            1,
            "decnet subscriptions list",
        ),
        (
            "deliveries list --since",
            &["last week"],
            2,
            "use how long ago",
        ),
        ("deliveries list --topic a..b", &[], 1, "topic"),
        ("deliveries show 4711", &[], 1, "`decnet deliveries list`"),
        ("replay", &[], 2, "--subscription"),
        ("replay --all --status gone", &[], 2, "retrying"),
        ("replay show nothing", &[], 1, "Replay not found (404)"),
        ("dead-letters replay 1 --all", &[], 2, "cannot be used with"),
    ] {
        let output = cli(dir, line, rest).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{line}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(said),
            "{line}: {}",
            stderr(&output)
        );
    }

    let viewer = cli(dir, "token create --role viewer", &[]).await;
    let viewer = succeeded(&viewer).trim().to_owned();
    let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    for (line, code, said) in [
        ("status", 0, ""),
        ("deliveries list", 0, "no deliveries match"),
        (
            &format!("deliveries list -s {uuid}"),
            0,
            "no deliveries match",
        ),
        ("deliveries list -s siem", 1, "give the uuid"),
        (&format!("replay -s {uuid}"), 1, "role does not allow this"),
        ("replay --all", 1, "an admin's token"),
    ] {
        let words = line.split_whitespace();
        let output = finish(decnet(dir, words).env("DECNET_TOKEN", &viewer)).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{line}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(said),
            "{line}: {}",
            stderr(&output)
        );
    }

    let port = running.port();
    drop(running);
    let url = format!("http://127.0.0.1:{port}");
    let away = cli(dir, "deliveries list --api-url", &[&url]).await;
    assert_eq!(away.status.code(), Some(3), "{}", stderr(&away));
    assert!(stderr(&away).contains("decnet serve"), "{}", stderr(&away));
}

#[tokio::test]
async fn the_status_names_a_worker_that_is_missing() {
    let dir = data_dir();
    let dir = dir.path();
    let api_process = Decnet::api_only(dir).await;
    let bare = cli(dir, "status", &[]).await;
    assert_eq!(bare.status.code(), Some(1), "{}", stdout(&bare));
    assert!(
        stderr(&bare).contains("no worker is alive"),
        "{}",
        stderr(&bare)
    );
    assert!(
        stdout(&bare).contains("workers            none"),
        "{}",
        stdout(&bare)
    );

    let _worker = Decnet::webhook(dir).await;
    let api = api_process.api().await;
    api.subscribe(
        "siem",
        "https://siem.example/",
        Listen::SECRET,
        &["attacker.>"],
    )
    .await;
    let whole = async {
        loop {
            let output = cli(dir, "status", &[]).await;
            if output.status.success() {
                return stdout(&output);
            }
        }
    };
    let text = tokio::time::timeout(PATIENCE, whole)
        .await
        .expect("a worker is there");
    for part in [
        "alive",
        "1 active, 0 paused, 0 tripped",
        "dead letters       0",
        "database           answers",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let told = json_of(dir, "status").await;
    assert_eq!(told["workers"][0]["alive"], true, "{told}");
}

#[tokio::test]
async fn every_shell_gets_a_script() {
    let dir = data_dir();
    for shell in ["bash", "zsh", "fish"] {
        let script = succeeded(&cli(dir.path(), "completions", &[shell]).await);
        assert!(script.contains("dead-letters"), "{shell}");
    }
}
