//! Whose fault is it? Events that a receiver cannot take stop nobody, an endpoint that takes nothing
//! loses nothing, and the two are told apart.

use std::time::{Duration, Instant};

use webhook_bus::Watch;
use webhook_model::{
    DeliveryStatus::{Dead, Retrying},
    Settings, State, TopicPattern,
};
use webhook_store::{RetryOutcome, SkipOutcome, SubscriptionPatch};
use webhook_testkit::{Behaviour, Receiver, Reconciler};
use webhook_worker::WorkerConfig;

use crate::rig::{PATIENCE, Rig};

const POISON: [&str; 3] = ["attacker.p403", "attacker.p422", "attacker.p500"];

/// Refuses poison by the status in its topic, takes the rest, and the test ping or not.
fn picky(takes_pings: bool) -> Behaviour {
    Behaviour::decide(move |received| {
        let topic = received.topic().unwrap_or_default();
        Behaviour::status(match topic.strip_prefix("attacker.p") {
            Some(status) => status.parse().unwrap(),
            None if topic == "test.ping" && !takes_pings => 400,
            None => 200,
        })
    })
}

async fn watch(rig: &Rig, topic: &str) -> Watch {
    let pattern = TopicPattern::parse(topic).unwrap();
    rig.bus.watch(&pattern).await.unwrap()
}

async fn state(rig: &Rig, uuid: &str) -> State {
    rig.store.get(uuid).await.unwrap().unwrap().state
}

/// 200 events that the receiver cannot take, in front of 50 that it can.
async fn poisoned(mut rig: Rig, mix: &[&str], takes_pings: bool, within: Duration) {
    let receiver = Receiver::start(picky(takes_pings)).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let mut final_ones = 0;
    for count in 0..200 {
        let topic = mix[count % mix.len()];
        rig.publish(topic).await;
        final_ones += usize::from(topic != "attacker.p500");
    }
    let begun = Instant::now();
    let mut reconciler = Reconciler::new();
    for id in rig.publish_many("attacker.observed", 50).await {
        reconciler.expect("siem", &id);
    }
    rig.start();
    let taken = |log: &webhook_testkit::Log| {
        let good = log
            .all()
            .iter()
            .filter(|it| it.topic() == Some("attacker.observed"));
        good.count() >= 50
    };
    receiver.wait_until(taken, 2 * PATIENCE).await;
    let took = begun.elapsed();
    assert!(took < within, "the good ones took {took:?}");
    rig.reached(&subscription.uuid, Dead, final_ones).await;
    rig.reached(&subscription.uuid, Retrying, 200 - final_ones)
        .await;
    rig.drain().await;
    let statuses = rig.statuses(&subscription.uuid).await;
    assert_eq!(statuses.len(), 250, "each event is one row");
    let dead = statuses.iter().filter(|it| **it == Dead).count();
    assert_eq!(dead, final_ones, "and each refused one a dead letter");
    let good = receiver.received();
    let good = good
        .iter()
        .filter(|it| it.topic() == Some("attacker.observed"));
    reconciler.receive_all("siem", good);
    reconciler.report().assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_events_stop_nobody() {
    poisoned(Rig::new().await, &POISON, true, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_events_stop_nobody_where_the_ping_is_refused_as_well() {
    poisoned(Rig::new().await, &POISON, false, 2 * PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_a_receiver_chokes_on_stop_nobody() {
    poisoned(Rig::new().await, &["attacker.p500"], true, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_a_receiver_chokes_on_stop_nobody_where_the_ping_is_refused() {
    poisoned(Rig::new().await, &["attacker.p500"], false, 2 * PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_events_stop_nobody_on_jetstream() {
    poisoned(Rig::on_servers().await, &["attacker.p403"], true, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_events_stop_nobody_where_the_ping_is_refused_on_jetstream() {
    poisoned(Rig::on_servers().await, &POISON, false, 2 * PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_refused_events_do_not_even_trip() {
    for status in ["400", "403", "413", "422"] {
        let mut rig = Rig::started().await;
        let mut tripped = watch(&rig, "system.webhook.tripped").await;
        let receiver = Receiver::start(picky(true)).await;
        let subscription = rig
            .subscribe("siem", &receiver.url(), &["attacker.>"])
            .await;
        rig.publish_many(&format!("attacker.p{status}"), 12).await;
        rig.publish_many("attacker.observed", 100).await;
        rig.recorded(&subscription.uuid, "delivered", 100).await;
        rig.recorded(&subscription.uuid, "dead", 12).await;
        assert_eq!(state(&rig, &subscription.uuid).await, State::Active);
        let pings = receiver.log(|log| {
            let pings = log
                .all()
                .iter()
                .filter(|it| it.topic() == Some("test.ping"));
            pings.count()
        });
        assert!(pings <= 1, "{pings} test pings");
        rig.drain().await;
        let told = tokio::time::timeout(Duration::ZERO, tripped.next()).await;
        assert!(told.is_err(), "{status}: {told:?}");
    }
}

/// Nothing is lost to an endpoint that takes nothing for a while, whatever it says meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_takes_nothing_loses_next_to_nothing() {
    for status in [404, 401, 302] {
        let mut rig = Rig::new().await;
        rig.start_with(WorkerConfig {
            cool_down: Duration::from_millis(200),
            ..WorkerConfig::default()
        });
        let mut tripped = watch(&rig, "system.webhook.tripped").await;
        let receiver = Receiver::start(Behaviour::ok()).await;
        let subscription = rig
            .subscribe("siem", &receiver.url(), &["attacker.>"])
            .await;
        // It is well at first, so that many are in flight when it begins.
        rig.publish_many("attacker.observed", 100).await;
        rig.recorded(&subscription.uuid, "delivered", 100).await;
        receiver.behave(Behaviour::status(status));
        rig.publish_many("attacker.observed", 300).await;
        tokio::time::timeout(PATIENCE, tripped.next())
            .await
            .unwrap();
        // A few turns, and a restart.
        let refused = receiver.count();
        receiver.wait_for(refused + 6, PATIENCE).await;
        rig.drain().await;
        rig.start_with(WorkerConfig {
            cool_down: Duration::from_millis(200),
            ..WorkerConfig::default()
        });
        let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
        let cause = format!("non-retryable {status}");
        assert_eq!(row.last_error.as_deref(), Some(cause.as_str()));
        receiver.behave(Behaviour::ok());
        rig.recorded(&subscription.uuid, "delivered", 395).await;
        rig.drain().await;
        let rows = rig.rows(&subscription.uuid);
        let dead = rows.iter().filter(|row| row.status == "dead").count();
        let delivered = rows.iter().filter(|row| row.status == "delivered").count();
        assert!(dead <= 5, "{status}: {dead} dead letters");
        assert_eq!(dead + delivered, 400, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_always_asks_for_a_pause_holds_the_others_for_its_schedule_at_most() {
    for status in [429, 503] {
        let mut rig = Rig::started().await;
        let receiver = Receiver::start(Behaviour::decide(move |received| {
            if received.topic() == Some("attacker.pause") {
                Behaviour::status_with(status, "retry-after", "2")
            } else {
                Behaviour::ok()
            }
        }))
        .await;
        let settings = Settings::default()
            .with_redelivery_schedule(vec![1, 1])
            .unwrap();
        let subscription = rig
            .subscribe_with("siem", &receiver.url(), &["attacker.>"], settings)
            .await;
        let asks = rig.publish("attacker.pause").await;
        let begun = Instant::now();
        rig.publish_many("attacker.observed", 140).await;
        rig.recorded(&subscription.uuid, "delivered", 140).await;
        rig.recorded(&subscription.uuid, "dead", 1).await;
        // Three rounds, and two pauses between them.
        assert!(
            begun.elapsed() < Duration::from_secs(12),
            "{:?}",
            begun.elapsed()
        );
        let tries = receiver.log(|log| {
            let tries = log
                .all()
                .iter()
                .filter(|it| it.event_id() == Some(asks.as_str()));
            tries.count()
        });
        assert_eq!(tries, 3);
        assert_eq!(state(&rig, &subscription.uuid).await, State::Active);
        rig.drain().await;
    }
}

fn ordered(schedule: Vec<u32>) -> Settings {
    Settings::default()
        .with_ordered(true)
        .with_redelivery_schedule(schedule)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_head_is_a_row_that_can_be_skipped() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(picky(true)).await;
    let settings = Settings::default().with_ordered(true);
    let subscription = rig
        .subscribe_with("siem", &receiver.url(), &["attacker.>"], settings)
        .await;
    rig.publish("attacker.p500").await;
    rig.publish_many("attacker.observed", 10).await;
    rig.recorded(&subscription.uuid, "retrying", 1).await;
    let head = rig.store.head(&subscription.uuid).await.unwrap().unwrap();
    assert!(
        head.due_in > Duration::from_secs(15),
        "the default schedule"
    );
    let before = receiver.count();
    assert_eq!(before, 4, "a round, and nothing behind it");
    assert_eq!(
        rig.store.retry(head.id).await.unwrap(),
        RetryOutcome::Queued
    );
    receiver.wait_for(before + 4, PATIENCE).await;
    let skipped = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while rig.store.skip(head.id).await.unwrap() != SkipOutcome::Skipped {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, skipped).await.unwrap();
    rig.recorded(&subscription.uuid, "delivered", 10).await;
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_head_runs_its_schedule_down_through_a_restart() {
    for (status, tries) in [(500, 12), (429, 3)] {
        let mut rig = Rig::started().await;
        let receiver = Receiver::start(Behaviour::decide(move |received| {
            match (received.topic(), status) {
                (Some("attacker.poison"), 429) => Behaviour::status_with(429, "retry-after", "1"),
                (Some("attacker.poison"), status) => Behaviour::status(status),
                _ => Behaviour::ok(),
            }
        }))
        .await;
        let subscription = rig
            .subscribe_with(
                "siem",
                &receiver.url(),
                &["attacker.>"],
                ordered(vec![2, 2]),
            )
            .await;
        rig.publish("attacker.poison").await;
        rig.publish_many("attacker.observed", 10).await;
        rig.recorded(&subscription.uuid, "retrying", 1).await;
        rig.drain().await;
        rig.start();
        rig.recorded(&subscription.uuid, "delivered", 10).await;
        rig.drain().await;
        let rows = rig.rows(&subscription.uuid);
        let dead: Vec<_> = rows.iter().filter(|row| row.status == "dead").collect();
        assert_eq!(dead.len(), 1);
        assert!(dead[0].attempts <= tries, "{} tries", dead[0].attempts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_costs_an_ordered_subscription_one_dead_letter_a_schedule() {
    let mut rig = Rig::new().await;
    rig.start_with(WorkerConfig {
        circuit_threshold: 1,
        cool_down: Duration::from_millis(200),
        ..WorkerConfig::default()
    });
    let receiver = Receiver::start(Behaviour::status(503)).await;
    let subscription = rig
        .subscribe_with(
            "siem",
            &receiver.url(),
            &["attacker.>"],
            ordered(vec![1, 1]),
        )
        .await;
    rig.publish_many("attacker.observed", 30).await;
    // It is down for longer than the first one's whole schedule.
    rig.recorded(&subscription.uuid, "dead", 1).await;
    receiver.behave(Behaviour::ok());
    rig.recorded(&subscription.uuid, "delivered", 28).await;
    rig.drain().await;
    let rows = rig.rows(&subscription.uuid);
    assert_eq!(rows.len(), 30);
    assert!(rows.iter().filter(|row| row.status == "dead").count() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_keep_the_order_where_it_counts() {
    // Answers that leave a probe's event waiting.
    for status in [404, 401, 503] {
        let mut rig = Rig::new().await;
        rig.start_with(WorkerConfig {
            circuit_threshold: 1,
            cool_down: Duration::from_millis(100),
            ..WorkerConfig::default()
        });
        let receiver = Receiver::start(Behaviour::status(status)).await;
        let subscription = rig
            .subscribe_with("siem", &receiver.url(), &["attacker.>"], ordered(vec![60]))
            .await;
        let mut reconciler = Reconciler::new();
        let mut published = rig.publish_many("attacker.observed", 10).await;
        if status != 503 {
            // The first one is refused for good, and trips it.
            published.remove(0);
        }
        published
            .iter()
            .for_each(|id| reconciler.expect("siem", id));

        // The first round, and two turns.
        receiver.wait_for(6, PATIENCE).await;
        receiver.behave(Behaviour::ok());
        rig.recorded(&subscription.uuid, "delivered", published.len())
            .await;
        rig.drain().await;
        let taken = receiver.received();
        let events = taken
            .iter()
            .filter(|it| it.is_taken() && it.topic() != Some("test.ping"));
        reconciler.receive_all("siem", events);
        let report = reconciler.report();
        report.assert_exact();
        assert!(report.out_of_order.is_empty(), "{status}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn corrected_means_now() {
    let mut rig = Rig::started().await;
    let wrong = Receiver::start(Behaviour::status(500)).await;
    let right = Receiver::start(Behaviour::ok()).await;
    let subscription = rig.subscribe("siem", &wrong.url(), &["attacker.>"]).await;
    rig.publish_many("attacker.observed", 3).await;
    rig.recorded(&subscription.uuid, "retrying", 3).await;
    let patch = SubscriptionPatch {
        url: Some(webhook_model::EndpointUrl::parse(&right.url()).unwrap()),
        ..SubscriptionPatch::default()
    };
    rig.patch(&subscription.uuid, patch).await;
    rig.recorded(&subscription.uuid, "delivered", 3).await;
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_decnets_dashboard_enables_delivers_again() {
    let mut rig = Rig::new().await;
    rig.start_with(WorkerConfig {
        cool_down: Duration::from_secs(300),
        ..WorkerConfig::default()
    });
    for status in [503, 410] {
        let mut tripped = watch(&rig, "system.webhook.tripped").await;
        let receiver = Receiver::start(Behaviour::status(status)).await;
        let name = format!("siem {status}");
        let settings = Settings::default()
            .with_redelivery_schedule(vec![1; 20])
            .unwrap();
        let subscription = rig
            .subscribe_with(&name, &receiver.url(), &["attacker.>"], settings)
            .await;
        rig.publish_many("attacker.observed", 20).await;
        tokio::time::timeout(PATIENCE, tripped.next())
            .await
            .unwrap();
        receiver.behave(Behaviour::ok());
        // As DECNET writes it: no epoch, no state of ours.
        let decnet = rusqlite::Connection::open(rig.dir.path().join("decnet.db")).unwrap();
        decnet.busy_timeout(Duration::from_secs(5)).unwrap();
        let enable = "UPDATE webhook_subscriptions SET enabled = 1, auto_disabled_at = NULL, \
                      consecutive_failures = 0, last_error = NULL WHERE uuid = ?1";
        assert_eq!(decnet.execute(enable, [&subscription.uuid]).unwrap(), 1);
        rig.signal().await;
        let owed = if status == 410 { 19 } else { 20 };
        rig.recorded(&subscription.uuid, "delivered", owed).await;
    }
    rig.drain().await;
}

/// DECNET writes the row and nothing else, also while no worker runs.
#[tokio::test(flavor = "multi_thread")]
async fn what_decnet_corrects_is_corrected_now() {
    let mut rig = Rig::started().await;
    let (wrong, right) = (
        Receiver::start(Behaviour::status(500)).await,
        Receiver::builder(Behaviour::ok())
            .secret("the-secret-that-decnet-wrote")
            .start()
            .await,
    );
    let decnet = rusqlite::Connection::open(rig.dir.path().join("decnet.db")).unwrap();
    decnet.busy_timeout(Duration::from_secs(5)).unwrap();
    for running in [true, false] {
        let name = format!("siem {running}");
        let subscription = rig.subscribe(&name, &wrong.url(), &["attacker.>"]).await;
        rig.publish_many("attacker.observed", 3).await;
        rig.recorded(&subscription.uuid, "retrying", 3).await;
        if !running {
            rig.drain().await;
        }
        let correct = "UPDATE webhook_subscriptions SET url = ?2, secret = ?3 WHERE uuid = ?1";
        let written = decnet.execute(
            correct,
            [
                &subscription.uuid,
                &right.url(),
                "the-secret-that-decnet-wrote",
            ],
        );
        assert_eq!(written.unwrap(), 1);
        if running {
            rig.signal().await;
        } else {
            rig.start();
        }
        rig.recorded(&subscription.uuid, "delivered", 3).await;
        assert!(
            right
                .received()
                .iter()
                .all(webhook_testkit::Received::is_verified)
        );
    }
    rig.drain().await;
}
