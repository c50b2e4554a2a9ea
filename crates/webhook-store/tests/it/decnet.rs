//! Contract §5: in DECNET's own database, beside DECNET.

use webhook_model::{EndpointUrl, State};
use webhook_store::{Store, StoreError, SubscriptionPatch};

use crate::support::*;

on_each_engine!(
    a_database_of_decnets_is_taken_over,
    nothing_is_made_before_decnets_tables,
    a_table_older_than_the_breaker_gets_its_column,
    a_row_that_breaks_keeps_its_pairs,
    a_broken_row_is_mended_by_what_it_lacks,
    what_decnet_changes_itself_is_noticed,
);

async fn a_database_of_decnets_is_taken_over(database: Database) {
    let decnet = database.decnet().await;
    decnet.create_tables().await;
    decnet
        .insert(
            "u-1",
            "siem",
            "http://10.0.0.5:9200/hook",
            r#"["attacker.>", "system.>"]"#,
        )
        .await;
    let store = database.open().await;
    let listed = store.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, "siem");
    assert_eq!(
        listed[0].created_at,
        decnet.kept("2026-04-24 12:00:00.000120")
    );
    assert_eq!(listed[0].secret.expose(), SECRET);

    // Its first pairs come at the worker's first sight.
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.out_of_step, ["u-1"]);
    assert_eq!(snapshot.subscriptions[0].epoch, 0);
    assert!(store.sync_pairs("u-1", &at(40)).await.unwrap());
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(live(&snapshot, "u-1"), ["attacker.> 40", "system.> 40"]);
    assert!(snapshot.out_of_step.is_empty());
    assert!(!store.sync_pairs("u-1", &at(50)).await.unwrap());
}

async fn nothing_is_made_before_decnets_tables(database: Database) {
    let mut config = database.config();
    config.awaits_decnet = true;
    for _ in 0..2 {
        let error = Store::open(&config).await.unwrap_err();
        assert!(matches!(error, StoreError::AwaitsDecnet(_)), "{error}");
        assert!(error.is_connection(), "waiting helps");
    }
    // It would fail at a table that is there.
    database.decnet().await.create_tables().await;
    let store = Store::open(&config).await.unwrap();
    assert!(store.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_file_is_the_same_for_both() {
    let database = Database::new();
    let store = database.open().await;
    let made = store
        .create(new("siem", &["attacker.>", "email.*"]), &at(1))
        .await
        .unwrap();
    let decnet = database.decnet().await;
    let read = async |column: &str| {
        decnet
            .text(&format!("SELECT {column} FROM webhook_subscriptions"))
            .await
            .unwrap()
    };
    assert_eq!(read("topic_patterns").await, r#"["attacker.>","email.*"]"#);
    for column in ["created_at", "updated_at"] {
        assert_eq!(read(column).await, made.created_at.sql());
        assert_eq!(read(column).await.len(), "YYYY-MM-DD HH:MM:SS.ffffff".len());
        assert_eq!(read(&format!("typeof({column})")).await, "text");
    }
    assert_eq!(read("typeof(enabled)").await, "integer");
    assert_eq!(
        decnet
            .number("SELECT enabled FROM webhook_subscriptions")
            .await,
        1
    );
    assert_eq!(
        decnet
            .number(
                "SELECT count(*) FROM webhook_subscriptions
        WHERE last_success_at IS NULL AND last_error IS NULL AND auto_disabled_at IS NULL"
            )
            .await,
        1
    );

    // DECNET goes on writing; SQLAlchemy names every column.
    decnet
        .run(
            "INSERT INTO webhook_subscriptions (uuid, name, url, secret, topic_patterns, enabled,
        consecutive_failures, last_success_at, last_failure_at, last_error, auto_disabled_at,
        created_at, updated_at) VALUES ('u-2', 'soar', 'https://soar.example', 'short', '[\"a.b\"]',
        0, 7, NULL, '2026-04-24 12:00:00', 'x', '2026-04-24 12:00:00', '2026-04-24 12:00:00',
        '2026-04-24 12:00:00')",
        )
        .await;
    let soar = store.get("u-2").await.unwrap().unwrap();
    assert!(matches!(soar.state, State::Tripped { .. }));
    assert_eq!(soar.consecutive_failures, 7);
    assert_eq!(
        soar.secret.expose(),
        "short",
        "today's length rule is for new ones"
    );
}

async fn a_table_older_than_the_breaker_gets_its_column(database: Database) {
    let decnet = database.decnet().await;
    decnet.create_tables().await;
    decnet
        .run("ALTER TABLE webhook_subscriptions DROP COLUMN auto_disabled_at")
        .await;
    decnet
        .run(
            "INSERT INTO webhook_subscriptions VALUES ('u', 'n', 'https://a.example', 'secret',
        '[\"a\"]', TRUE, 0, NULL, NULL, NULL, '2026-04-24 12:00:00', '2026-04-24 12:00:00')",
        )
        .await;
    let store = database.open().await;
    assert_eq!(store.get("u").await.unwrap().unwrap().state, State::Active);
}

#[tokio::test]
async fn a_table_that_lacks_more_is_named() {
    let database = Database::new();
    let decnet = database.decnet().await;
    decnet.create_tables().await;
    decnet
        .run("ALTER TABLE webhook_subscriptions DROP COLUMN last_error")
        .await;
    let error = Store::open(&database.config()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has no column last_error; start the current DECNET"),
        "{error}"
    );
    assert!(!error.is_connection());
    // Nothing was left behind.
    let ours = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'webhook%'";
    assert_eq!(decnet.number(ours).await, 1);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_no_other() {
    let database = Database::new();
    let decnet = database.decnet().await;
    decnet.create_tables().await;
    decnet
        .insert("good", "good", "https://siem.example/", r#"["a"]"#)
        .await;
    decnet
        .insert("bad-json", "1", "https://siem.example/", "[\"a\"")
        .await;
    decnet
        .insert("no-list", "2", "https://siem.example/", r#"{"a":1}"#)
        .await;
    decnet
        .insert("bad-url", "4", "siem.example", r#"["a"]"#)
        .await;
    decnet
        .insert("ftp", "5", "ftp://siem.example/", r#"["a"]"#)
        .await;
    decnet
        .insert("bad-time", "6", "https://siem.example/", r#"["a"]"#)
        .await;
    decnet
        .insert("no-secret", "7", "https://siem.example/", r#"["a"]"#)
        .await;
    decnet
        .insert("blob-secret", "8", "https://siem.example/", r#"["a"]"#)
        .await;
    decnet
        .insert("odd-enabled", "9", "https://siem.example/", r#"["a"]"#)
        .await;
    decnet
        .run(
            "UPDATE webhook_subscriptions SET created_at = 'yesterday' WHERE uuid = 'bad-time';
        UPDATE webhook_subscriptions SET secret = '' WHERE uuid = 'no-secret';
        UPDATE webhook_subscriptions SET secret = x'ff00' WHERE uuid = 'blob-secret';
        UPDATE webhook_subscriptions SET enabled = 'maybe' WHERE uuid = 'odd-enabled'",
        )
        .await;

    let store = database.open().await;
    let listed: Vec<_> = store
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|s| s.uuid)
        .collect();
    assert_eq!(listed, ["good"]);
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.subscriptions.len(), 1);
    assert_eq!(snapshot.out_of_step, ["good"]);
    assert_eq!(snapshot.skipped.len(), 8);
    for (uuid, reason) in [
        ("bad-json", "topic_patterns"),
        ("no-list", "topic_patterns"),
        ("bad-url", "url"),
        ("ftp", "\"ftp\""),
        ("bad-time", "created_at: \"yesterday\""),
        ("no-secret", "secret is empty"),
        ("blob-secret", "secret"),
        ("odd-enabled", "enabled"),
    ] {
        let bad = snapshot
            .skipped
            .iter()
            .find(|bad| bad.uuid == uuid)
            .unwrap();
        assert!(bad.reason.contains(reason), "{bad:?}");
        for error in [
            store.get(uuid).await.unwrap_err(),
            store
                .patch(uuid, SubscriptionPatch::default(), &at(1))
                .await
                .unwrap_err(),
        ] {
            let StoreError::Broken(broken) = &error else {
                panic!("{error:?}");
            };
            assert_eq!(broken.uuid, uuid);
            assert_eq!(broken.faults.len(), 1);
            assert_eq!(broken.faults[0].to_string(), bad.reason);
            assert!(!error.is_connection());
        }
    }
    assert!(!store.sync_pairs("bad-url", &at(1)).await.unwrap());
    assert!(store.delete("bad-url", &at(1)).await.unwrap());
    assert_eq!(store.snapshot().await.unwrap().skipped.len(), 7);
}

/// Rows that DECNET accepts and delivers: what in them is no pattern is left out alone.
#[tokio::test]
async fn rows_that_decnet_delivers_are_used_as_far_as_they_go() {
    let database = Database::new();
    let decnet = database.decnet().await;
    decnet.create_tables().await;
    let rows = [
        ("user", "http://user:pa%40ss@siem.example/", r#"["a"]"#),
        (
            "one-bad",
            "https://siem.example/",
            r#"["a..b","attacker.>"]"#,
        ),
        (
            "no-text",
            "https://siem.example/",
            r#"[7,"attacker.>",null,{"a":1}]"#,
        ),
        ("none", "https://siem.example/", r#"["a..b"]"#),
    ];
    for (uuid, url, patterns) in rows {
        decnet.insert(uuid, uuid, url, patterns).await;
    }
    let store = database.open().await;
    let listed = store.list().await.unwrap();
    assert_eq!(listed.len(), rows.len());
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.subscriptions.len(), rows.len());
    assert!(snapshot.skipped.is_empty());

    let user = store.get("user").await.unwrap().unwrap();
    assert_eq!(user.url.as_str(), "http://***@siem.example/");
    assert!(user.url.authorization().is_some());
    let skipped = async |uuid: &str| {
        let found = store.get(uuid).await.unwrap().unwrap();
        (found.topic_patterns.len(), found.skipped_patterns)
    };
    let bad = "pattern \"a..b\" has an empty token".to_owned();
    assert_eq!(skipped("one-bad").await, (1, vec![bad.clone()]));
    assert_eq!(skipped("none").await, (0, vec![bad]));
    let texts = ["7 is no text", "null is no text", "{\"a\":1} is no text"];
    assert_eq!(
        skipped("no-text").await,
        (1, texts.map(str::to_owned).into())
    );
    for (uuid, pairs) in [("user", 1), ("one-bad", 1), ("no-text", 1), ("none", 0)] {
        store.sync_pairs(uuid, &at(1)).await.unwrap();
        let snapshot = store.snapshot().await.unwrap();
        assert_eq!(live(&snapshot, uuid).len(), pairs, "{uuid}");
    }

    // A patch of something else leaves the list and the credentials as DECNET wrote them.
    for (uuid, url, patterns) in rows {
        store.patch(uuid, enabled(false), &at(2)).await.unwrap();
        let read =
            |column| format!("SELECT {column} FROM webhook_subscriptions WHERE uuid = '{uuid}'");
        assert_eq!(decnet.text(&read("url")).await.unwrap(), url);
        assert_eq!(
            decnet.text(&read("topic_patterns")).await.unwrap(),
            patterns
        );
    }
    // One of the list writes it whole, although the usable part stays the same.
    let patch = repatterned(&["attacker.>"]);
    let patched = store
        .patch("one-bad", patch, &at(3))
        .await
        .unwrap()
        .unwrap();
    assert!(patched.changed && patched.subscription.skipped_patterns.is_empty());
    assert_eq!(skipped("one-bad").await, (1, Vec::new()));
}

#[tokio::test]
async fn a_row_without_an_id_stops_no_other() {
    let database = Database::new();
    let decnet = database.decnet().await;
    decnet.create_tables().await;
    decnet
        .insert("good", "good", "https://siem.example/", r#"["a"]"#)
        .await;
    decnet
        .insert("odd", "odd", "https://siem.example/", r#"["a"]"#)
        .await;
    decnet
        .run("UPDATE webhook_subscriptions SET uuid = x'00' WHERE uuid = 'odd'")
        .await;
    let store = database.open().await;
    assert_eq!(store.list().await.unwrap().len(), 1);
    assert_eq!(
        store.snapshot().await.unwrap().skipped[0].uuid,
        "(unreadable)"
    );
}

/// SQLite takes any text into a column of booleans.
#[tokio::test]
async fn a_row_whose_enabled_cannot_be_read_is_counted_nowhere_and_hides_no_other() {
    let database = Database::new();
    let decnet = database.decnet().await;
    decnet.create_tables().await;
    for name in ["well", "odd"] {
        let url = "https://siem.example/";
        decnet.insert(name, name, url, r#"["a"]"#).await;
    }
    decnet
        .run("UPDATE webhook_subscriptions SET enabled = 'true' WHERE name = 'odd'")
        .await;
    let store = database.open().await;
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.active, counts.paused, counts.tripped), (1, 0, 0));
}

async fn a_broken_row_is_mended_by_what_it_lacks(database: Database) {
    let decnet = database.decnet().await;
    decnet.create_tables().await;
    let rows = [
        ("list", "https://siem.example/", "no list", "topic_patterns"),
        ("url", "ftp://u:hunter2@siem.example/", r#"["a"]"#, "url"),
    ];
    for (uuid, url, patterns, _) in rows {
        decnet.insert(uuid, uuid, url, patterns).await;
    }
    let store = database.open().await;
    let standings = store.standings().await.unwrap();
    assert!(standings.standings.is_empty());
    assert_eq!(standings.broken.len(), rows.len());
    for (uuid, _, _, field) in rows {
        let refused = store.patch(uuid, enabled(true), &at(1)).await.unwrap_err();
        let StoreError::Broken(broken) = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(broken.faults[0].field, field);
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }

    let url = EndpointUrl::parse("https://new.example/").unwrap();
    let patch = SubscriptionPatch {
        url: Some(url.clone()),
        ..SubscriptionPatch::default()
    };
    let mended = store.patch("url", patch, &at(2)).await.unwrap().unwrap();
    assert!(mended.changed);
    assert_eq!(store.get("url").await.unwrap().unwrap().url, url);
    let patch = repatterned(&["a.b"]);
    store.patch("list", patch, &at(2)).await.unwrap().unwrap();
    let snapshot = store.snapshot().await.unwrap();
    assert!(snapshot.skipped.is_empty());
    assert_eq!(live(&snapshot, "list"), ["a.b 2"]);
    assert_eq!(live(&snapshot, "url"), ["a 2"]);
}

async fn a_row_that_breaks_keeps_its_pairs(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a.>"]), &at(3)).await.unwrap();
    let decnet = database.decnet().await;
    decnet
        .run("UPDATE webhook_subscriptions SET topic_patterns = 'broken'")
        .await;
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.skipped.len(), 1);
    assert!(snapshot.subscriptions.is_empty() && snapshot.ended.is_empty());
    assert!(snapshot.out_of_step.is_empty());
    assert!(!store.sync_pairs(&made.uuid, &at(9)).await.unwrap());
    decnet
        .run("UPDATE webhook_subscriptions SET topic_patterns = '[\"a.>\"]'")
        .await;
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(live(&snapshot, &made.uuid), ["a.> 3"]);
    assert!(snapshot.out_of_step.is_empty());
}

async fn what_decnet_changes_itself_is_noticed(database: Database) {
    let store = database.open().await;
    let made = store
        .create(new("siem", &["a", "b"]), &at(1))
        .await
        .unwrap();
    let uuid = made.uuid.as_str();
    let decnet = database.decnet().await;

    let version = store.config_version().await.unwrap();
    decnet
        .run("UPDATE webhook_subscriptions SET topic_patterns = '[\"b\", \"c\"]'")
        .await;
    assert_eq!(
        store.config_version().await.unwrap(),
        version,
        "DECNET counts nothing"
    );
    assert_eq!(store.snapshot().await.unwrap().out_of_step, [uuid]);
    assert!(store.sync_pairs(uuid, &at(10)).await.unwrap());
    assert!(store.config_version().await.unwrap() > version);
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(live(&snapshot, uuid), ["b 1", "c 10"]);
    assert_eq!(ended(&snapshot), ["a 1..9 drain"]);
    assert_eq!(snapshot.subscriptions[0].epoch, 2);

    decnet
        .run("UPDATE webhook_subscriptions SET enabled = FALSE")
        .await;
    assert_eq!(store.snapshot().await.unwrap().out_of_step, [uuid]);
    assert!(store.sync_pairs(uuid, &at(20)).await.unwrap());
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(live(&snapshot, uuid), [""; 0]);
    assert_eq!(ended(&snapshot), ["a 1..9", "b 1..19", "c 10..19"]);

    decnet
        .run("UPDATE webhook_subscriptions SET enabled = TRUE")
        .await;
    assert!(store.sync_pairs(uuid, &at(30)).await.unwrap());
    decnet.run("DELETE FROM webhook_subscriptions").await;
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.out_of_step, [uuid]);
    assert!(snapshot.subscriptions.is_empty());
    assert!(store.sync_pairs(uuid, &at(40)).await.unwrap());
    let snapshot = store.snapshot().await.unwrap();
    assert!(snapshot.out_of_step.is_empty());
    assert_eq!(
        ended(&snapshot),
        ["a 1..9", "b 1..19", "b 30..39", "c 10..19", "c 30..39"]
    );
}
