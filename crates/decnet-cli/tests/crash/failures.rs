//! Databases and buses that answer with an error, all of them in one run that goes on regardless.

use std::collections::BTreeSet;

use crate::{
    installation::Engines,
    points::ROOM,
    report::{Row, print},
    world::World,
};

/// Events of a whole run.
const EVENTS: usize = 80;

/// A call that fails, and what the log then says.
struct Failure {
    point: &'static str,
    /// How often it succeeds before.
    after: usize,
    /// How often it fails.
    times: usize,
    /// One of these, by who asked.
    told: &'static [&'static str],
}

const fn failure(
    point: &'static str,
    after: usize,
    times: usize,
    told: &'static [&'static str],
) -> Failure {
    Failure {
        point,
        after,
        times,
        told,
    }
}

const FAILURES: &[Failure] = &[
    failure(
        webhook_bus::failpoints::WRITING,
        12,
        3,
        &["events are refused: the bus cannot take them"],
    ),
    failure(
        webhook_bus::failpoints::OPENING,
        3,
        2,
        &["cannot open a bus consumer; trying again"],
    ),
    failure(
        webhook_bus::failpoints::TAKING,
        10,
        3,
        &["cannot take events off the bus; trying again"],
    ),
    failure(
        webhook_bus::failpoints::ENDING,
        0,
        1,
        &["cannot remove an ended consumer; trying again"],
    ),
    failure(
        webhook_store::failpoints::CREATED,
        0,
        1,
        &["request refused: the database is away"],
    ),
    failure(
        webhook_store::failpoints::RECORDING,
        8,
        3,
        &["cannot record deliveries; nothing is acknowledged"],
    ),
    failure(webhook_store::failpoints::TRIPPING, 0, 1, &["action=Trip"]),
    failure(
        webhook_store::failpoints::REPLAYING,
        0,
        2,
        &["cannot go on with a replay; trying again"],
    ),
    failure(
        webhook_store::failpoints::REPLAYED,
        0,
        1,
        &["cannot go on with a replay; trying again"],
    ),
    failure(
        webhook_store::failpoints::SWEEPING,
        0,
        1,
        &["cannot sweep the delivery log; trying again"],
    ),
    failure(
        webhook_store::failpoints::READING,
        1,
        2,
        &["cannot read the subscriptions; trying again"],
    ),
    failure(
        webhook_store::failpoints::LOOKING,
        5,
        2,
        &[
            "cannot read the configuration version; nothing is sent",
            "not ready missing=\"database\"",
        ],
    ),
    failure(
        webhook_store::failpoints::CLAIMING,
        1,
        2,
        &["cannot look for due redeliveries; trying again"],
    ),
    failure(
        webhook_store::failpoints::LEASING,
        0,
        1,
        &["cannot take the lease of a probe; trying again"],
    ),
    failure(
        webhook_store::failpoints::RECOVERING,
        0,
        1,
        &["action=Recover"],
    ),
    failure(
        webhook_store::failpoints::BEATING,
        1,
        1,
        &["cannot tell the other workers that this one lives; trying again"],
    ),
];

#[test]
fn every_call_that_can_fail_has_a_failure() {
    let all = [
        webhook_bus::failpoints::FAILING,
        webhook_store::failpoints::FAILING,
    ];
    let all: BTreeSet<&str> = all.into_iter().flatten().copied().collect();
    let failures: BTreeSet<&str> = FAILURES.iter().map(|failure| failure.point).collect();
    assert_eq!(failures, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_told_and_tried_again_and_nothing_is_lost() {
    all_at_once(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_told_and_tried_again_and_nothing_is_lost_on_jetstream() {
    all_at_once(Engines::JetStream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn what_fails_is_told_and_tried_again_and_nothing_is_lost_on_mariadb() {
    all_at_once(Engines::MariaDb).await;
}

async fn all_at_once(engines: Engines) {
    let _room = ROOM.acquire().await.expect("it is never closed");
    let world = World::new(engines).await;
    let armed = FAILURES.iter().map(
        |Failure {
             point,
             after,
             times,
             ..
         }| format!("{point}={after}*off->{times}*return(error)->off"),
    );
    let starter = world
        .starter()
        .var("FAILPOINTS", &armed.collect::<Vec<_>>().join(";"))
        .var("DECNET_TEST_KEEP_DELIVERED_MS", "1");
    let server = starter.start().await;
    let log = server.log().clone();
    let late = world.busy(EVENTS).await;
    let outcome = world.finish(server, late, EVENTS).await;
    let lines = log.all();
    for Failure { point, told, .. } in FAILURES {
        let tells = |line: &String| told.iter().any(|text| line.contains(text));
        assert!(lines.iter().any(tells), "{point}: {lines:#?}");
    }
    let row = Row {
        what: format!("{} calls fail", FAILURES.len()),
        meaning: "whatever the call was for",
        crashes: 0,
        outcome,
    };
    print(&format!("Failures, {}", engines.name()), &[row]);
}
