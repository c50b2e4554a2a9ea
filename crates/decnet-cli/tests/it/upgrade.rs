//! What the first version left behind, under this one.

use std::{collections::BTreeMap, path::Path};

use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use webhook_testkit::{Behaviour, Receiver};

use crate::{
    fixture,
    support::{Api, Decnet, PATIENCE, Starter, data_dir, run, succeeded},
};

/// The subscriptions: uuid, name, secret, patterns, in the order they were made.
const SUBSCRIPTIONS: [(&str, &str, &str, &[&str]); 5] = [
    (
        "3615b51e-bbfd-4905-be8b-f29b05590973",
        "siem",
        "whsec_c2llbSBvZiB0aGUgZmlyc3QgdmVyc2lvbiwgMzIgYg==",
        &["attacker.>", "decky.*.state"],
    ),
    (
        "966cefb5-3aac-4c0d-8b0a-1f2b09226ed5",
        "soar",
        "soar-secret-0123456789",
        &["canary.>"],
    ),
    (
        "e72d3041-d1f3-4d94-b53b-0bba56e6c6c5",
        "ledger",
        "ledger-secret-0123456789",
        &["identity.>"],
    ),
    (
        "c6b461fe-f7aa-48ba-a3e7-7e078bcc3d6a",
        "mail",
        "mail-secret-0123456789",
        &["email.>"],
    ),
    (
        "2320e382-bf31-4c69-8bbd-387f06072884",
        "paused",
        "paused-secret-0123456789",
        &["attacker.>"],
    ),
];
/// The old log: id, subscription, event, status.
const LOG: [(i64, &str, &str, &str); 10] = [
    (1, "siem", "attacker-delivered-1", "delivered"),
    (2, "siem", "decky-delivered", "delivered"),
    (3, "soar", "canary-dead", "dead"),
    (4, "siem", "attacker-delivered-2", "delivered"),
    (5, "ledger", "identity-delivered", "delivered"),
    (6, "soar", "canary-delivered", "delivered"),
    (7, "soar", "canary-replayed", "delivered"),
    (8, "mail", "email-retrying-2", "retrying"),
    (9, "soar", "canary-retrying", "retrying"),
    (10, "mail", "email-retrying-1", "retrying"),
];
/// What the old version owed by its journal: subscription, event.
const BACKLOG: [(&str, &str); 8] = [
    ("siem", "attacker-backlog-1"),
    ("siem", "attacker-backlog-2"),
    ("siem", "decky-backlog"),
    ("soar", "canary-backlog"),
    ("ledger", "identity-backlog-1"),
    ("ledger", "identity-backlog-2"),
    ("ledger", "identity-backlog-3"),
    ("mail", "email-backlog"),
];
/// The dead letter, by its id in the old log.
const DEAD: i64 = 3;
/// The replay that the old version ran.
const REPLAY: &str = "66cd66ef-257a-4048-800a-f4677dc567bd";
/// A payload whose digits have to survive, as it is sent.
const DIGITS: &str = r#"{"big":1180591620717411303424,"small":1e-05,"text":"päss☃"}"#;
/// Of a page of the log; small, so that there are several.
const PAGE: usize = 4;

/// Subscription and event of what arrived, or is on record, sorted.
type Arrivals = Vec<(String, String)>;

fn sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Arrivals {
    let owned = |(name, event): (&str, &str)| (name.to_owned(), event.to_owned());
    let mut pairs: Arrivals = pairs.into_iter().map(owned).collect();
    pairs.sort();
    pairs
}

/// Takes everything, with each subscription's old secret.
async fn receiver() -> Receiver {
    let receiver = Receiver::start(Behaviour::ok()).await;
    for (_, name, secret, _) in SUBSCRIPTIONS {
        receiver.trust_on(&format!("/hook/{name}"), secret);
    }
    receiver
}

fn arrivals(receiver: &Receiver) -> Arrivals {
    let received = receiver.received();
    assert!(received.iter().all(|it| it.is_verified()));
    sorted(received.iter().map(|it| {
        let name = it.path.rsplit('/').next().expect("a path");
        (name, it.event_id().expect("an id"))
    }))
}

/// The whole log, page by page.
async fn log(api: &Api) -> BTreeMap<i64, Value> {
    let mut rows = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/deliveries?limit={PAGE}{cursor}");
        let (status, page) = api.ask(Method::GET, &path, None).await;
        assert_eq!(status, 200, "{page}");
        for row in page["items"].as_array().expect("a list") {
            let id = row["id"].as_i64().expect("an id");
            assert!(rows.insert(id, row.clone()).is_none(), "{id} came twice");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

/// The log once that many are delivered and no others are left.
async fn delivered(api: &Api, count: usize) -> BTreeMap<i64, Value> {
    let done = async {
        loop {
            let rows = log(api).await;
            if rows.len() == count && rows.values().all(|row| row["status"] == "delivered") {
                return rows;
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, done).await;
    match done {
        Ok(rows) => rows,
        Err(_) => panic!("{count} are not delivered: {:#?}", log(api).await),
    }
}

async fn get(api: &Api, path: &str) -> Value {
    let (status, found) = api.ask(Method::GET, path, None).await;
    assert_eq!(status, 200, "{path}: {found}");
    found
}

async fn publish(api: &Api, id: &str) {
    let event = json!({"id": id, "topic": "attacker.observed", "type": "observed"});
    let (status, taken) = api.ask(Method::POST, "/api/v1/events", Some(event)).await;
    assert_eq!((status, &taken["ids"]), (202, &json!([id])));
}

async fn subscriptions_are_kept(api: &Api) {
    let list = get(api, "/api/v1/webhooks").await;
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), SUBSCRIPTIONS.len());
    for (found, (uuid, name, _, patterns)) in list.iter().zip(SUBSCRIPTIONS) {
        assert_eq!(found["uuid"], uuid);
        assert_eq!(found["name"], name);
        assert_eq!(found["topic_patterns"], json!(patterns));
        assert_eq!(found["ordered"], name == "ledger", "{name}");
    }
    let [siem, soar, _, _, paused] = list.as_slice() else {
        panic!("{list:#?}");
    };
    for (field, value) in [
        ("max_in_flight", json!(8)),
        ("rate_per_second", json!(50)),
        ("burst", json!(100)),
        ("timeout_seconds", json!(5)),
        ("headers", json!({"x-tenant": "***"})),
    ] {
        assert_eq!(siem[field], value, "{field}");
    }
    assert_eq!(soar["redelivery_schedule"], json!([30, 43_200]));
    assert_eq!(paused["enabled"], false);
    assert_eq!(paused["auto_disabled_at"], Value::Null);
}

async fn history_is_kept(api: &Api) {
    let rows = log(api).await;
    for (id, name, event, status) in LOG {
        let row = &rows[&id];
        let uuid = SUBSCRIPTIONS.iter().find(|it| it.1 == name).map(|it| it.0);
        assert_eq!(row["subscription"].as_str(), uuid, "{id}");
        assert_eq!(row["event_id"], event, "{id}");
        // What was due is under way.
        if status != "retrying" {
            assert_eq!(row["status"], status, "{id}");
        }
    }
    let letter = get(api, &format!("/api/v1/deliveries/{DEAD}")).await;
    assert_eq!(letter["error"], "non-retryable 404");
    assert_eq!(letter["failed_attempts"][0]["status_code"], 404, "{letter}");
    assert_eq!(letter["failed_attempts"][0]["answer"], "no such hook");
    assert_eq!(letter["acknowledged_at"], Value::Null);
    let acknowledge = format!("/api/v1/deliveries/{DEAD}/acknowledge");
    let (status, _) = api.ask(Method::POST, &acknowledge, None).await;
    assert_eq!(status, 200);
    let counts = get(api, "/api/v1/status").await["deliveries"].clone();
    assert_eq!(
        (&counts["dead"], &counts["dead_acknowledged"]),
        (&json!(0), &json!(1))
    );
    let replay = get(api, &format!("/api/v1/replays/{REPLAY}")).await;
    assert_eq!(replay["state"], "done");
    assert_eq!(
        (&replay["matched"], &replay["replayed"]),
        (&json!(1), &json!(1))
    );
}

async fn start(commands: &[&str], dir: &Path) -> Vec<Decnet> {
    let mut servers = Vec::new();
    for command in commands {
        servers.push(Starter::new(command, dir).start().await);
    }
    servers
}

async fn stop(servers: Vec<Decnet>) {
    for mut server in servers {
        let status = server.terminate().await;
        assert!(status.success(), "{status}: {:#?}", server.log().all());
    }
}

/// Servers of this version, the first of which has the API, do what the old one had left to do and
/// nothing twice, also after one more restart.
async fn goes_on(commands: &[&str], dir: &Path, receiver: &Receiver) {
    let servers = start(commands, dir).await;
    let api = servers[0].api().await;
    subscriptions_are_kept(&api).await;
    history_is_kept(&api).await;

    let retry = format!("/api/v1/deliveries/{DEAD}/retry");
    let (status, retried) = api.ask(Method::POST, &retry, None).await;
    assert_eq!(status, 202, "{retried}");
    publish(&api, "attacker-new").await;

    let old = LOG.iter().map(|&(_, name, event, _)| (name, event));
    let new = [("siem", "attacker-new")];
    let all = sorted(old.chain(BACKLOG).chain(new));
    let rows = delivered(&api, all.len()).await;
    let names: BTreeMap<&str, &str> = SUBSCRIPTIONS.iter().map(|it| (it.0, it.1)).collect();
    let on_record = sorted(rows.values().map(|row| {
        let uuid = row["subscription"].as_str().expect("a uuid");
        (names[uuid], row["event_id"].as_str().expect("an id"))
    }));
    assert_eq!(on_record, all);
    let mail = get(&api, &format!("/api/v1/webhooks/{}", SUBSCRIPTIONS[3].0)).await;
    assert_eq!(mail["enabled"], true, "its probe was taken: {mail}");

    let undone = LOG.iter().filter(|it| it.3 != "delivered");
    let undone = undone.map(|&(_, name, event, _)| (name, event));
    let owed = sorted(undone.chain(BACKLOG).chain(new));
    assert_eq!(arrivals(receiver), owed);
    let received = receiver.received();
    let of_event = |id: &str| received.iter().find(|it| it.event_id() == Some(id));
    let digits = of_event("attacker-backlog-1").expect("it arrived");
    let body = std::str::from_utf8(&digits.body).expect("text");
    assert!(body.contains(DIGITS), "{body}");
    assert_eq!(digits.header("x-tenant"), Some("north"));
    let ledger = received.iter().filter(|it| it.path == "/hook/ledger");
    let ledger: Vec<_> = ledger.filter_map(|it| it.event_id()).collect();
    assert!(ledger.is_sorted(), "{ledger:?}");

    stop(servers).await;
    let servers = start(commands, dir).await;
    let api = servers[0].api().await;
    publish(&api, "attacker-newest").await;
    delivered(&api, all.len() + 1).await;
    stop(servers).await;
    let owed = owed
        .iter()
        .map(|(name, event)| (name.as_str(), event.as_str()));
    let owed = sorted(owed.chain([("siem", "attacker-newest")]));
    assert_eq!(arrivals(receiver), owed);
}

#[tokio::test]
async fn serve_goes_on_where_the_first_version_stopped() {
    let (dir, receiver) = (data_dir(), receiver().await);
    fixture::first_version(dir.path(), &receiver.url());
    goes_on(&["serve"], dir.path(), &receiver).await;
}

#[tokio::test]
async fn api_and_webhook_go_on_after_a_crash_that_lost_its_acks() {
    let (dir, receiver) = (data_dir(), receiver().await);
    fixture::first_version(dir.path(), &receiver.url());
    // The journal hands everything out again from the first event on; the log knows better.
    let journal = Connection::open(dir.path().join("journal.db")).expect("it opens");
    journal
        .execute_batch("UPDATE consumers SET floor = 6")
        .expect("it can be written");
    drop(journal);
    goes_on(&["api", "webhook"], dir.path(), &receiver).await;
}

#[tokio::test]
async fn a_backup_of_the_first_version_is_restored_and_goes_on() {
    let (dir, receiver) = (data_dir(), receiver().await);
    fixture::first_version(dir.path(), &receiver.url());
    let copied = dir.path().join("copied");
    let copied = copied.to_str().expect("a path of text");
    succeeded(&run(dir.path(), &["backup", copied]).await);
    for folder in [dir.path(), copied.as_ref()] {
        let database = Connection::open(folder.join("decnet.db")).expect("it opens");
        let newest: String = database
            .query_row("SELECT max(version) FROM webhook_migrations", [], |row| {
                row.get(0)
            })
            .expect("it is migrated");
        assert_eq!(newest, "m0001_base", "a backup migrates nothing");
    }
    let elsewhere = data_dir();
    succeeded(&run(elsewhere.path(), &["restore", copied]).await);
    goes_on(&["serve"], elsewhere.path(), &receiver).await;
}
