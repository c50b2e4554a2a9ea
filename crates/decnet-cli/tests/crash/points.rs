//! A crash at every crash point in turn, and tasks of the worker that panic or end.

use std::{collections::BTreeSet, os::unix::process::ExitStatusExt};

use tokio::{sync::Semaphore, task::JoinSet};
use webhook_testkit::long_or_short;

use crate::{
    installation::{Engines, Installation},
    report::{Row, print},
    support::Decnet,
    world::World,
};

/// Events of a whole run.
const EVENTS: usize = 80;
/// Worlds at a time: they mostly wait.
pub(crate) static ROOM: Semaphore = Semaphore::const_new(6);
/// `SIGABRT`, by which a crash point ends the process.
const ABORTED: i32 = 6;

/// A crash point, and how to get there.
#[derive(Clone, Copy)]
struct Case {
    point: &'static str,
    meaning: &'static str,
    /// How often it is passed before it crashes, in the short run.
    passes: usize,
}

const fn case(point: &'static str, meaning: &'static str, passes: usize) -> Case {
    Case {
        point,
        meaning,
        passes,
    }
}

const CASES: &[Case] = &[
    case(
        webhook_bus::failpoints::COMMITTED,
        "bus committed, publisher not answered",
        6,
    ),
    case(
        webhook_store::failpoints::MIGRATING,
        "first migration done, the next not",
        0,
    ),
    case(
        webhook_store::failpoints::CREATED,
        "subscription and pairs committed, API has not answered",
        0,
    ),
    case(
        webhook_store::failpoints::RECORDING,
        "outcomes written, not committed",
        8,
    ),
    case(
        webhook_store::failpoints::TRIPPING,
        "subscription switched off, breaker not written",
        0,
    ),
    case(
        webhook_store::failpoints::REPLAYING,
        "replay's rows queued, cursor not moved",
        0,
    ),
    case(
        webhook_store::failpoints::REPLAYED,
        "replay's cursor moved, worker does not know",
        0,
    ),
    case(
        webhook_store::failpoints::SWEEPING,
        "retention sweep half-way",
        0,
    ),
    case(
        webhook_worker::failpoints::TAKEN,
        "events taken off the bus, not sent",
        10,
    ),
    case(
        webhook_worker::failpoints::SENT,
        "receiver answered, not recorded",
        20,
    ),
    case(
        webhook_worker::failpoints::RECORDED,
        "recorded, not acknowledged",
        8,
    ),
    case(
        webhook_worker::failpoints::ACKED,
        "acknowledged in memory, not on disk",
        8,
    ),
    case(
        webhook_worker::failpoints::CLAIMED,
        "rows leased for redelivery, not sent",
        1,
    ),
    case(
        webhook_worker::failpoints::TRIPPED,
        "trip written, not announced",
        0,
    ),
    case(
        webhook_worker::failpoints::PROBING,
        "probe leased, not sent",
        0,
    ),
    case(
        webhook_worker::failpoints::PROBED,
        "probe succeeded, recovery not written",
        0,
    ),
    case(
        webhook_worker::failpoints::RECOVERED,
        "recovery written, not announced",
        0,
    ),
    case(
        webhook_worker::failpoints::ENDED,
        "ended pair gone from the bus, not from the tables",
        0,
    ),
];

/// Points at which a task panics instead, and what that task is called.
const PANICS: &[(&str, &str)] = &[
    (webhook_store::failpoints::RECORDING, "recorder"),
    (webhook_worker::failpoints::RECORDED, "recorder"),
    (webhook_worker::failpoints::ACKED, "recorder"),
    (webhook_worker::failpoints::TRIPPED, "guardian"),
    (webhook_worker::failpoints::CLAIMED, "redelivery"),
    (webhook_store::failpoints::REPLAYED, "replays"),
    (webhook_store::failpoints::SWEEPING, "sweep"),
];

/// Points at which a task comes to its end though nobody told it to, and what it is called.
const ENDS: &[(&str, &str)] = &[
    (webhook_worker::failpoints::RECORDED, "recorder"),
    (webhook_worker::failpoints::ACKED, "recorder"),
];

#[test]
fn every_crash_point_has_a_case() {
    let all = [
        webhook_bus::failpoints::ALL,
        webhook_store::failpoints::ALL,
        webhook_worker::failpoints::ALL,
    ];
    let all: BTreeSet<&str> = all.into_iter().flatten().copied().collect();
    let cases: BTreeSet<&str> = CASES.iter().map(|case| case.point).collect();
    assert_eq!(cases, all);
    let ends: Vec<&str> = ENDS.iter().map(|(point, _)| *point).collect();
    assert_eq!(ends, webhook_worker::failpoints::ENDING);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_at_any_crash_point() {
    everywhere(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_at_any_crash_point_on_jetstream() {
    everywhere(Engines::JetStream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn nothing_is_lost_wherever_it_crashes_on_mariadb() {
    everywhere(Engines::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_panics_ends_the_program_by_its_name_and_nothing_is_lost() {
    panics(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_panics_ends_the_program_by_its_name_and_nothing_is_lost_on_jetstream() {
    panics(Engines::JetStream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn a_task_that_panics_ends_the_program_and_nothing_is_lost_on_mariadb() {
    panics(Engines::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ends_by_itself_ends_the_program_by_its_name_and_nothing_is_lost() {
    tasks_end(Engines::Embedded, "Tasks that end", ENDS, Ending::End).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ends_by_itself_ends_the_program_and_nothing_is_lost_on_jetstream() {
    tasks_end(Engines::JetStream, "Tasks that end", ENDS, Ending::End).await;
}

async fn panics(engines: Engines) {
    tasks_end(engines, "Panics", PANICS, Ending::Panic).await;
}

async fn tasks_end(
    engines: Engines,
    title: &str,
    points: &'static [(&str, &str)],
    ending: fn(&'static str) -> Ending,
) {
    let mut runs = JoinSet::new();
    for (place, (point, task)) in points.iter().enumerate() {
        let case = CASES.iter().find(|case| case.point == *point);
        let case = *case.expect("every point has a case");
        runs.spawn(async move {
            let _room = ROOM.acquire().await.expect("it is never closed");
            (place, crash(engines, case, case.passes, ending(task)).await)
        });
    }
    let mut rows: Vec<(usize, Row)> = runs.join_all().await;
    rows.sort_by_key(|(place, _)| *place);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    print(&format!("{title}, {}", engines.name()), &rows);
}

/// How a server comes to its end at a point.
#[derive(Clone, Copy)]
enum Ending {
    /// As a power cut would end it.
    Abort,
    /// The task of that name panics.
    Panic(&'static str),
    /// The task of that name returns.
    End(&'static str),
}

async fn everywhere(engines: Engines) {
    let wanted = std::env::var("CRASH_POINT").ok();
    let mut runs = JoinSet::new();
    let wanted = |case: &&Case| wanted.as_ref().is_none_or(|point| point == case.point);
    for (place, case) in CASES.iter().filter(wanted).enumerate() {
        // The same point again, earlier: less is half done then, and other things are.
        let rounds = long_or_short(4, 1);
        for passes in (0..rounds).map(|round| case.passes * (rounds - round) / rounds) {
            runs.spawn(async move {
                let _room = ROOM.acquire().await.expect("it is never closed");
                (place, crash(engines, *case, passes, Ending::Abort).await)
            });
        }
    }
    let mut rows: Vec<(usize, Row)> = runs.join_all().await;
    rows.sort_by_key(|(place, _)| *place);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    print(&format!("Crash points, {}", engines.name()), &rows);
}

async fn crash(engines: Engines, case: Case, passes: usize, ending: Ending) -> Row {
    let action = match ending {
        Ending::Abort => "return",
        Ending::Panic(_) => "panic",
        Ending::End(_) => "return(early)",
    };
    let arm = format!("{}={passes}*off->{action}", case.point);
    let outcome = if case.point == webhook_store::failpoints::MIGRATING {
        let installation = Installation::new(engines).await;
        let server = installation
            .starter("serve", 0)
            .var("FAILPOINTS", &arm)
            .spawn();
        crashed(server, &case, ending).await;
        let world = World::on(installation).await;
        let server = world.starter().start().await;
        let late = world.busy(EVENTS).await;
        world.finish(server, late, EVENTS).await
    } else {
        let world = World::new(engines).await;
        let mut starter = world.starter().var("FAILPOINTS", &arm);
        if case.point == webhook_store::failpoints::SWEEPING {
            starter = starter.var("DECNET_TEST_KEEP_DELIVERED_MS", "1");
        }
        let server = starter.spawn();
        // Publishers and the operator go on through the crash.
        let again = async {
            crashed(server, &case, ending).await;
            world.mark().await;
            world.starter().start().await
        };
        let (late, server) = tokio::join!(world.busy(EVENTS), again);
        world.finish(server, late, EVENTS).await
    };
    Row {
        what: format!("`{}`", case.point),
        meaning: case.meaning,
        crashes: 1,
        outcome,
    }
}

/// Waits for the crash. A task that panics or ends is an exit that says which it was.
async fn crashed(mut server: Decnet, case: &Case, ending: Ending) {
    let status = server.wait().await;
    let told = |text: &str| server.log().all().iter().any(|line| line.contains(text));
    let as_expected = match ending {
        Ending::Abort => status.signal() == Some(ABORTED),
        Ending::Panic(task) => {
            status.code() == Some(1) && told(&format!("the worker's task {task} panicked"))
        }
        Ending::End(task) => {
            status.code() == Some(1) && told(&format!("the worker's task {task} ended by itself"))
        }
    };
    assert!(
        as_expected,
        "{}: {status}: {:#?}",
        case.point,
        server.log().all()
    );
}
