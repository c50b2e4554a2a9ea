//! SIGKILL at random moments, under load.

use tokio_util::sync::CancellationToken;
use webhook_testkit::long_or_short;

use crate::{
    installation::Engines,
    report::{Row, print},
    world::{BEFORE, World},
};

/// Events published for each kill, some seconds of them.
const EVENTS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_it_is_killed_at_random_moments() {
    at_random(Engines::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_it_is_killed_on_jetstream() {
    at_random(Engines::JetStream).await;
}

async fn at_random(engines: Engines) {
    let kills = long_or_short(50, 3);
    let until = BEFORE + kills * EVENTS;
    let world = World::new(engines).await;
    let all_published = CancellationToken::new();
    let busy = async {
        let late = world.busy(until).await;
        all_published.cancel();
        late
    };
    let killing = async {
        let mut server = world.starter().start().await;
        for _ in 0..kills {
            let moment = world.endpoints.steady.receiver.count() + rand::random_range(1..EVENTS);
            tokio::select! {
                () = world.taken(moment) => {}
                // The last kills come when all is published, and find what is left to do.
                () = all_published.cancelled() => {}
            }
            server.kill().await;
            world.mark().await;
            server = world.starter().start().await;
        }
        server
    };
    let (late, server) = tokio::join!(busy, killing);
    let crashes = world.crashes();
    let outcome = world.finish(server, late, until).await;
    let row = Row {
        what: "`SIGKILL`".to_owned(),
        meaning: "whatever is in flight",
        crashes,
        outcome,
    };
    print(
        &format!("Kills at random moments, {}", engines.name()),
        &[row],
    );
}
