use std::time::Duration;

use webhook_model::EndpointUrl;
use webhook_store::SubscriptionPatch;
use webhook_testkit::{Behaviour, Receiver};

use crate::rig::{PATIENCE, Rig, SECRET};

fn raw(rig: &Rig) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(rig.dir.path().join("decnet.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_counts_even_when_its_signal_is_lost() {
    let mut rig = Rig::started().await;
    let (old, new) = (
        Receiver::start(Behaviour::ok()).await,
        Receiver::start(Behaviour::ok()).await,
    );
    let subscription = rig.subscribe("siem", &old.url(), &["attacker.>"]).await;
    rig.publish("attacker.observed").await;
    old.wait_for(1, PATIENCE).await;

    let patch = SubscriptionPatch {
        url: Some(EndpointUrl::parse(&new.url()).unwrap()),
        ..SubscriptionPatch::default()
    };
    let position = rig.position().await;
    rig.store
        .patch(&subscription.uuid, patch, &position)
        .await
        .unwrap();
    // No signal was sent, and the timer is a minute away.
    rig.publish("attacker.observed").await;
    new.wait_for(1, PATIENCE).await;
    assert_eq!(old.count(), 1);
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_subscription_gets_nothing_more() {
    let mut rig = Rig::started().await;
    let (gone, kept) = (
        Receiver::start(Behaviour::ok()).await,
        Receiver::start(Behaviour::ok()).await,
    );
    let subscription = rig.subscribe("gone", &gone.url(), &["attacker.>"]).await;
    rig.subscribe("kept", &kept.url(), &["attacker.>"]).await;
    rig.publish("attacker.observed").await;
    gone.wait_for(1, PATIENCE).await;

    let position = rig.position().await;
    assert!(
        rig.store
            .delete(&subscription.uuid, &position)
            .await
            .unwrap()
    );
    rig.publish("attacker.observed").await;
    kept.wait_for(2, PATIENCE).await;
    rig.drain().await;
    assert_eq!(gone.count(), 1);
    let left: i64 = raw(&rig)
        .query_row(
            "SELECT count(*) FROM webhook_pairs WHERE uuid = ?1",
            [&subscription.uuid],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(left, 0, "its pair is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_stops_no_other_and_comes_back_mended() {
    let mut rig = Rig::started().await;
    let (broken, healthy) = (
        Receiver::start(Behaviour::ok()).await,
        Receiver::start(Behaviour::ok()).await,
    );
    let subscription = rig
        .subscribe("broken", &broken.url(), &["attacker.>"])
        .await;
    rig.subscribe("healthy", &healthy.url(), &["attacker.>"])
        .await;
    rig.publish("attacker.observed").await;
    broken.wait_for(1, PATIENCE).await;

    let break_it = "UPDATE webhook_subscriptions SET topic_patterns = 'no json' WHERE uuid = ?1";
    raw(&rig).execute(break_it, [&subscription.uuid]).unwrap();
    rig.signal().await;
    rig.publish("attacker.observed").await;
    healthy.wait_for(2, PATIENCE).await;

    let mend =
        "UPDATE webhook_subscriptions SET topic_patterns = '[\"attacker.>\"]' WHERE uuid = ?1";
    raw(&rig).execute(mend, [&subscription.uuid]).unwrap();
    rig.signal().await;
    rig.publish("attacker.observed").await;
    broken.wait_until(|log| log.unique() == 3, PATIENCE).await;
    rig.drain().await;
    assert_eq!(broken.log(|log| log.duplicates()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_another_program_wrote_is_served() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    receiver.trust(SECRET);
    raw(&rig)
        .execute(
            "INSERT INTO webhook_subscriptions
             (uuid, name, url, secret, topic_patterns, enabled, consecutive_failures, created_at, updated_at)
             VALUES ('11111111-2222-4333-8444-555555555555', 'theirs', ?1, ?2, '[\"attacker.>\"]', 1, 0,
                     '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000')",
            [receiver.url(), SECRET.to_owned()],
        )
        .unwrap();
    rig.signal().await;
    // Its pair begins where the worker first sees the row; until then nothing is promised.
    let pairs = || -> i64 {
        raw(&rig)
            .query_row("SELECT count(*) FROM webhook_pairs", [], |row| row.get(0))
            .unwrap()
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let seen = async {
        while pairs() == 0 {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen)
        .await
        .expect("the worker sees the row");
    let id = rig.publish("attacker.observed").await;
    let got = receiver.wait_for(1, PATIENCE).await;
    assert_eq!(got[0].event_id(), Some(id.as_str()));
    assert!(got[0].is_verified());
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pausing_drops_and_resuming_begins_anew() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let first = rig.publish("attacker.observed").await;
    receiver.wait_for(1, PATIENCE).await;

    let enabled = |enabled| SubscriptionPatch {
        enabled: Some(enabled),
        ..SubscriptionPatch::default()
    };
    rig.patch(&subscription.uuid, enabled(false)).await;
    rig.publish("attacker.observed").await;
    rig.patch(&subscription.uuid, enabled(true)).await;
    let third = rig.publish("attacker.observed").await;
    let got = receiver.wait_for(2, PATIENCE).await;
    rig.drain().await;
    let ids: Vec<_> = got.iter().filter_map(|r| r.event_id()).collect();
    assert_eq!(ids, [first, third]);
    assert_eq!(receiver.count(), 2);
}
