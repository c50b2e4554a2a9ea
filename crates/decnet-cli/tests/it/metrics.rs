//! What `/metrics` says, against what receivers saw.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};
use webhook_testkit::{Behaviour, Receiver};

use crate::support::{Decnet, PATIENCE, Scrape, data_dir};

/// Pause between two scrapes of a test that waits for something.
const POLL: Duration = Duration::from_millis(50);
const SECRET: &str = "a-secret-that-no-page-shows";
/// A name that a careless page would break on.
const AWKWARD: &str = "si\"em \\ \\\"{a=\"b\"} π";

/// Scrapes until it is as expected; each page must follow the one before.
async fn scrape_until(url: &str, expected: impl Fn(&Scrape) -> bool) -> Scrape {
    let deadline = Instant::now() + PATIENCE;
    let mut page = Scrape::of(url).await;
    while !expected(&page) {
        assert!(Instant::now() < deadline, "{page:#?}");
        sleep(POLL).await;
        let next = Scrape::of(url).await;
        next.assert_follows(&page);
        page = next;
    }
    page
}

fn delivered(page: &Scrape, result: &str) -> f64 {
    page.value("decnet_webhook_deliveries_total", &[("result", result)])
}

fn attempts(page: &Scrape, result: &str) -> f64 {
    page.value("decnet_webhook_attempts_total", &[("result", result)])
}

/// The names in the README's table of metrics, but those of a feed, which is not there.
fn documented() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter(|row| row.starts_with("decnet_webhook_") || row.starts_with("process_"))
        .filter(|row| !row.starts_with("decnet_webhook_feed_"))
        .map(|row| row.split(['`', '{']).next().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_what_the_receivers_saw() {
    let dir = data_dir();
    let mut server = Decnet::serve(dir.path()).await;
    let api = server.api().await;
    let good = Receiver::builder(Behaviour::ok())
        .secret(SECRET)
        .start()
        .await;
    let flaky = Behaviour::first(2, Behaviour::status(503), Behaviour::ok());
    let flaky = Receiver::builder(flaky).secret(SECRET).start().await;
    let picky = Receiver::builder(Behaviour::status(404))
        .secret(SECRET)
        .start()
        .await;
    let secret_path = good.url_of("/T0KEN");
    api.subscribe(AWKWARD, &secret_path, SECRET, &["attacker.>"])
        .await;
    api.subscribe("flaky", &flaky.url(), SECRET, &["attacker.first"])
        .await;
    let doomed = api
        .subscribe("picky", &picky.url(), SECRET, &["attacker.>"])
        .await;
    for topic in ["attacker.first", "attacker.TOP1C", "attacker.third"] {
        api.publish(topic, json!({"of": "interest"})).await;
    }

    let page = scrape_until(server.url(), |page| {
        delivered(page, "delivered") + delivered(page, "dead") >= 7.0
    })
    .await;
    let taken = good.log(|log| log.taken()) + flaky.log(|log| log.taken());
    assert_eq!(delivered(&page, "delivered"), taken as f64);
    assert_eq!(delivered(&page, "delivered"), 4.0);
    assert_eq!(delivered(&page, "dead"), picky.count() as f64);
    assert_eq!(attempts(&page, "2xx"), 4.0);
    assert_eq!(attempts(&page, "4xx"), 3.0);
    assert_eq!(attempts(&page, "5xx"), 2.0);
    let requests = good.count() + flaky.count() + picky.count();
    let all = page.sum("decnet_webhook_attempts_total");
    assert_eq!(all, requests as f64);
    let measured = page.value("decnet_webhook_attempt_duration_seconds_count", &[]);
    assert_eq!(measured, all);
    // The flaky receiver's event waited for two short backoffs, of 0.8 s and 1.6 s at least.
    let latencies = "decnet_webhook_delivery_latency_seconds";
    assert_eq!(page.value(&format!("{latencies}_count"), &[]), 4.0);
    assert!(page.value(&format!("{latencies}_sum"), &[]) >= 2.4);
    let rows = page.value("decnet_webhook_commit_rows_sum", &[]);
    assert_eq!(rows, page.sum("decnet_webhook_deliveries_total"));

    let published = |result| {
        page.value(
            "decnet_webhook_published_events_total",
            &[("result", result)],
        )
    };
    assert_eq!((published("taken"), published("refused")), (3.0, 0.0));
    let answered = [
        ("route", "/api/v1/events"),
        ("method", "POST"),
        ("status", "202"),
    ];
    assert_eq!(
        page.value("decnet_webhook_api_requests_total", &answered),
        3.0
    );
    let own = |result| {
        let labels = [("subscription", AWKWARD), ("result", result)];
        page.value("decnet_webhook_subscription_deliveries_total", &labels)
    };
    assert_eq!((own("delivered"), own("dead")), (3.0, 0.0));

    // What is asked of the database and the bus may be some seconds old.
    let page = scrape_until(server.url(), |page| {
        page.get("decnet_webhook_dead_letters", &[]) == Some(3.0)
            && page.get("decnet_webhook_backlog", &[]) == Some(0.0)
    })
    .await;
    assert_eq!(
        page.value("decnet_webhook_subscriptions", &[("state", "active")]),
        3.0
    );
    for up in ["worker_running", "database_up", "bus_up"] {
        assert_eq!(
            page.value(&format!("decnet_webhook_{up}"), &[]),
            1.0,
            "{up}"
        );
    }
    for nothing in [
        "requests_open",
        "messages_in_hand",
        "bus_refusing",
        "redeliveries_waiting",
    ] {
        assert_eq!(
            page.value(&format!("decnet_webhook_{nothing}"), &[]),
            0.0,
            "{nothing}"
        );
    }
    assert!(page.value("decnet_webhook_bus_head", &[]) >= 3.0);
    assert!(page.value("decnet_webhook_bus_free_disk_bytes", &[]) > 0.0);

    let names: BTreeSet<String> = page.names().into_iter().map(str::to_owned).collect();
    assert_eq!(names, documented(), "the README lists what is there");
    let text = format!("{page:?}");
    for hidden in [SECRET, "T0KEN", "TOP1C", "127.0.0.1", api.token()] {
        assert!(!text.contains(hidden), "{hidden}");
    }

    let path = format!("/api/v1/webhooks/{}", doomed["uuid"].as_str().unwrap());
    assert_eq!(api.ask(reqwest::Method::DELETE, &path, None).await.0, 200);
    scrape_until(server.url(), |page| {
        page.label_values("subscription") == [AWKWARD, "flaky"].into()
    })
    .await;
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_metrics_count_the_same_backlog() {
    let dir = data_dir();
    let mut server = Decnet::serve(dir.path()).await;
    let api = server.api().await;
    let gone = Receiver::start(Behaviour::status(410)).await;
    let patterns = ["attacker.*.seen", "attacker.ssh.*"];
    api.subscribe("siem", &gone.url(), SECRET, &patterns).await;
    api.publish("attacker.ssh.seen", json!({})).await;
    scrape_until(server.url(), |page| {
        page.get("decnet_webhook_subscriptions", &[("state", "tripped")]) == Some(1.0)
    })
    .await;
    // Both patterns ask for the first, neither for the last, and all are on their common cover.
    for topic in ["ssh.seen", "ftp.seen", "ssh.left", "ftp.left"] {
        api.publish(&format!("attacker.{topic}"), json!({})).await;
    }
    let (status, body) = api.ask(reqwest::Method::GET, "/api/v1/status", None).await;
    assert_eq!((status, &body["backlog"]["events"]), (200, &json!(3)));
    let siem = [("subscription", "siem")];
    scrape_until(server.url(), |page| {
        page.get("decnet_webhook_backlog", &[]) == Some(3.0)
            && page.get("decnet_webhook_subscription_backlog", &siem) == Some(3.0)
    })
    .await;
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_tells_of_its_own_parts() {
    let dir = data_dir();
    let api = Decnet::api_only(dir.path()).await;
    let worker = Decnet::webhook(dir.path()).await;
    let (api, worker) = (Scrape::of(api.url()).await, Scrape::of(worker.url()).await);
    let of_worker = ["attempts_total", "commit_rows", "requests_open"];
    let of_api = ["api_requests_total", "published_events_total"];
    for name in of_worker.iter().chain(&of_api) {
        let full = format!("decnet_webhook_{name}");
        let expected = (of_api.contains(name), of_worker.contains(name));
        let found = (api.names(), worker.names());
        let found = (found.0.contains(&*full), found.1.contains(&*full));
        assert_eq!(found, expected, "{name}");
    }
    for page in [api, worker] {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        assert_eq!(page.value("decnet_webhook_build_info", &version), 1.0);
        assert_eq!(page.value("decnet_webhook_bus_up", &[]), 1.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_subscriptions_are_told_of_together() {
    let dir = data_dir();
    let mut server = Decnet::serve(dir.path()).await;
    assert!(server.terminate().await.success());
    // As DECNET writes them.
    let database = rusqlite::Connection::open(dir.path().join("decnet.db")).unwrap();
    let add = |number: u32| {
        let row = format!(
            "INSERT INTO webhook_subscriptions (uuid, name, url, secret, topic_patterns, enabled,
                 consecutive_failures, created_at, updated_at)
             VALUES ('uuid-{number}', 'name-{number}', 'https://siem.example/', '{SECRET}',
                 '[\"attacker.>\"]', 1, 0, '2026-04-24 12:00:00.000000', '2026-04-24 12:00:00.000000')"
        );
        database.execute(&row, []).unwrap();
    };
    (1..200).for_each(add);
    let mut server = Decnet::serve(dir.path()).await;
    let page = scrape_until(server.url(), |page| {
        page.label_values("subscription").len() == 199
    })
    .await;
    assert_eq!(
        page.value("decnet_webhook_subscriptions", &[("state", "active")]),
        199.0
    );
    assert!(server.terminate().await.success());

    add(200);
    let server = Decnet::serve(dir.path()).await;
    let page = scrape_until(server.url(), |page| {
        page.get("decnet_webhook_worker_running", &[]) == Some(1.0)
            && page.get("decnet_webhook_subscriptions", &[("state", "active")]) == Some(200.0)
            && page.label_values("subscription").is_empty()
    })
    .await;
    assert!(page.sum("decnet_webhook_deliveries_total") == 0.0);
}
