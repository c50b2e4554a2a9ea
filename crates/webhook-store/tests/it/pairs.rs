//! `webhook_pairs` after every kind of change.

use webhook_store::{Position, Store};

use crate::support::*;

on_each_engine!(
    pairs_follow_every_change,
    deleting_ends_without_draining,
    only_an_ended_pair_is_forgotten,
    a_recreated_bus_gives_every_live_pair_a_successor,
    a_failed_change_leaves_no_pair,
);

/// After each patch the live and the ended pairs.
#[track_caller]
fn check(snapshot: &webhook_store::Snapshot, uuid: &str, alive: &[&str], over: &[&str]) {
    assert_eq!(live(snapshot, uuid), alive);
    assert_eq!(ended(snapshot), over);
    assert!(snapshot.out_of_step.is_empty());
}

async fn forget_all(store: &Store) {
    for pair in store.snapshot().await.unwrap().ended {
        store.forget_pair(&pair.id).await.unwrap();
    }
}

async fn pairs_follow_every_change(database: Database) {
    let store = database.open().await;
    let made = store
        .create(new("siem", &["attacker.>", "decky.*.state"]), &at(7))
        .await
        .unwrap();
    let uuid = made.uuid.as_str();
    let patch = async |patch, seq| {
        let patched = store.patch(uuid, patch, &at(seq)).await.unwrap().unwrap();
        (patched.ended, store.snapshot().await.unwrap())
    };
    check(
        &store.snapshot().await.unwrap(),
        uuid,
        &["attacker.> 7", "decky.*.state 7"],
        &[],
    );

    // Reordered, and a covered pattern added: nothing to do.
    let (over, snapshot) = patch(repatterned(&["decky.*.state", "attacker.>"]), 8).await;
    assert!(over.is_empty());
    check(&snapshot, uuid, &["attacker.> 7", "decky.*.state 7"], &[]);
    let list = ["decky.*.state", "attacker.>", "attacker.observed"];
    let (over, snapshot) = patch(repatterned(&list), 9).await;
    assert!(over.is_empty());
    check(&snapshot, uuid, &["attacker.> 7", "decky.*.state 7"], &[]);

    // Narrowed: the wide pair ends, the narrow one begins where it ended.
    let (over, snapshot) = patch(repatterned(&["decky.*.state", "attacker.observed"]), 20).await;
    assert_eq!(over.len(), 1);
    check(
        &snapshot,
        uuid,
        &["attacker.observed 20", "decky.*.state 7"],
        &["attacker.> 7..19 drain"],
    );
    forget_all(&store).await;

    // Widened.
    let (_, snapshot) = patch(repatterned(&["decky.>", "attacker.observed"]), 30).await;
    check(
        &snapshot,
        uuid,
        &["attacker.observed 20", "decky.> 30"],
        &["decky.*.state 7..29 drain"],
    );
    forget_all(&store).await;

    // Overlapping: one pair on the common cover, which knows both patterns.
    let (_, snapshot) = patch(repatterned(&["attacker.*.x", "attacker.b.*"]), 40).await;
    check(
        &snapshot,
        uuid,
        &["attacker.*.* 40"],
        &["attacker.observed 20..39 drain", "decky.> 30..39 drain"],
    );
    let filter = &snapshot.subscriptions[0].pairs[0].filter;
    assert_eq!(filter.patterns, patterns(&["attacker.*.x", "attacker.b.*"]));
    forget_all(&store).await;

    // Paused and resumed: what was published between is not for it.
    let (over, snapshot) = patch(enabled(false), 50).await;
    assert_eq!(over.len(), 1);
    assert!(!over[0].drain);
    check(&snapshot, uuid, &[], &["attacker.*.* 40..49"]);
    forget_all(&store).await;
    let (_, snapshot) = patch(repatterned(&["email.>"]), 55).await;
    check(&snapshot, uuid, &[], &[]);
    let (_, snapshot) = patch(enabled(true), 60).await;
    check(&snapshot, uuid, &["email.> 60"], &[]);

    // Tripped: the pairs stay, also while the list changes, and when it is enabled again.
    let decnet = database.decnet().await;
    decnet
        .run("UPDATE webhook_subscriptions SET enabled = FALSE, auto_disabled_at = updated_at")
        .await;
    check(&store.snapshot().await.unwrap(), uuid, &["email.> 60"], &[]);
    let (_, snapshot) = patch(repatterned(&["email.>", "smtp.>"]), 70).await;
    check(&snapshot, uuid, &["email.> 60", "smtp.> 70"], &[]);
    let (over, snapshot) = patch(enabled(true), 80).await;
    assert!(over.is_empty());
    check(&snapshot, uuid, &["email.> 60", "smtp.> 70"], &[]);

    // Tripped, then paused.
    decnet
        .run("UPDATE webhook_subscriptions SET enabled = FALSE, auto_disabled_at = updated_at")
        .await;
    let (over, snapshot) = patch(enabled(false), 90).await;
    assert_eq!(over.len(), 2);
    check(&snapshot, uuid, &[], &["email.> 60..89", "smtp.> 70..89"]);
}

async fn deleting_ends_without_draining(database: Database) {
    let store = database.open().await;
    let made = store
        .create(new("siem", &["a", "b"]), &at(1))
        .await
        .unwrap();
    store
        .patch(&made.uuid, repatterned(&["a"]), &at(5))
        .await
        .unwrap();
    store.delete(&made.uuid, &at(9)).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(ended(&snapshot), ["a 1..8", "b 1..4"]);
    assert!(snapshot.out_of_step.is_empty());
    forget_all(&store).await;
    assert!(store.snapshot().await.unwrap().ended.is_empty());
}

async fn only_an_ended_pair_is_forgotten(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let pair = store.snapshot().await.unwrap().subscriptions[0].pairs[0].clone();
    store.forget_pair(&pair.id).await.unwrap();
    store.forget_pair("no-such").await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.subscriptions[0].pairs, [pair]);
    assert_eq!(live(&snapshot, &made.uuid), ["a 1"]);
}

async fn a_recreated_bus_gives_every_live_pair_a_successor(database: Database) {
    let store = database.open().await;
    let made = store
        .create(new("siem", &["a", "b"]), &at(50))
        .await
        .unwrap();
    let paused = store.create(new("paused", &["c"]), &at(60)).await.unwrap();
    store
        .patch(&paused.uuid, enabled(false), &at(70))
        .await
        .unwrap();
    assert!(store.rebase_pairs("bus-a").await.unwrap().is_empty());
    let version = store.config_version().await.unwrap();
    let retired = store.rebase_pairs("bus-b").await.unwrap();
    assert_eq!(retired.len(), 2);
    assert!(
        retired
            .iter()
            .all(|pair| pair.incarnation == "bus-a" && !pair.drain)
    );
    assert!(store.config_version().await.unwrap() > version);
    let snapshot = store.snapshot().await.unwrap();
    check(
        &snapshot,
        &made.uuid,
        &["a 1", "b 1"],
        &["a 50..49", "b 50..49", "c 60..69"],
    );
    assert!(
        snapshot.subscriptions[0]
            .pairs
            .iter()
            .all(|pair| pair.incarnation == "bus-b")
    );
    assert!(store.rebase_pairs("bus-b").await.unwrap().is_empty());

    // A patch does it, too, if it comes first.
    let position = Position {
        incarnation: "bus-c".into(),
        next_seq: 3,
    };
    store
        .patch(&made.uuid, repatterned(&["a", "d"]), &position)
        .await
        .unwrap();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(live(&snapshot, &made.uuid), ["a 1", "d 3"]);
    assert!(ended(&snapshot).contains(&"b 1..2 drain".to_owned()));
}

async fn a_failed_change_leaves_no_pair(database: Database) {
    let store = database.open().await;
    store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    store.create(new("siem", &["b"]), &at(1)).await.unwrap_err();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.subscriptions.len(), 1);
    assert!(snapshot.out_of_step.is_empty() && snapshot.ended.is_empty());
}
