//! Editing under load: patterns are added, removed, widened, narrowed, reordered, paused and
//! resumed while events flow. Each event must arrive exactly if the list at its moment asked for
//! it; where it was published while a change was being made, either list may count.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use webhook_bus::{Bus, Publication};
use webhook_model::{Topic, TopicPattern};
use webhook_store::SubscriptionPatch;
use webhook_testkit::{Behaviour, Receiver, event, long_or_short};
use webhook_worker::WorkerConfig;

use crate::rig::{PATIENCE, Rig, parse};

const TOPICS: [&str; 6] = [
    "attacker.observed",
    "attacker.gone",
    "decky.d1.state",
    "decky.d1.traffic",
    "decky.d2.state",
    "email.received",
];

/// What an operator does, in order, again and again. `None` pauses.
const EDITS: [Option<&[&str]>; 12] = [
    Some(&["attacker.observed", "decky.*.state"]),
    Some(&["decky.*.state", "attacker.observed"]),
    Some(&["attacker.>", "decky.*.state"]),
    Some(&["attacker.>"]),
    Some(&["attacker.>", "decky.d1.*", "decky.*.state"]),
    Some(&["decky.d1.*", "decky.*.traffic"]),
    None,
    Some(&["decky.d1.*", "decky.*.traffic"]),
    Some(&[">"]),
    Some(&["email.>", "attacker.gone"]),
    Some(&["*.observed", "attacker.*"]),
    Some(&["attacker.observed"]),
];

/// One list and when it held: surely from `answered` until the next one was `asked` for, perhaps
/// from `asked` until the next one was answered.
struct Spell {
    asked: Instant,
    answered: Instant,
    patterns: Vec<TopicPattern>,
}

struct Published {
    id: String,
    topic: Topic,
    begun: Instant,
    done: Instant,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_arrives_exactly_if_the_list_at_its_moment_asked_for_it() {
    edit_under_load(Rig::started().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_on_jetstream_are_as_exact() {
    let mut rig = Rig::on_servers().await;
    for _ in 0..2 {
        rig.add_worker(WorkerConfig::default()).await;
    }
    rig.workers_alive(2).await;
    edit_under_load(rig).await;
}

async fn edit_under_load(mut rig: Rig) {
    let receiver = Receiver::start(Behaviour::ok().after(Duration::from_millis(1))).await;
    let neighbour = Receiver::start(Behaviour::ok()).await;
    rig.subscribe("neighbour", &neighbour.url(), &[">"]).await;

    let asked = Instant::now();
    let subscription = rig
        .subscribe("edited", &receiver.url(), &["attacker.observed"])
        .await;
    let mut spells = vec![Spell {
        asked,
        answered: Instant::now(),
        patterns: parse(&["attacker.observed"]),
    }];

    let published: Arc<Mutex<Vec<Published>>> = Arc::default();
    let stop = tokio_util::sync::CancellationToken::new();
    let publisher = tokio::spawn(publish(rig.bus.clone(), published.clone(), stop.clone()));

    // What was published before a pause may be dropped by it, if it was not delivered by then.
    let mut droppable: Vec<(Instant, Instant)> = Vec::new();
    for round in 0..long_or_short(10, 2) {
        for edit in EDITS {
            let settled = Instant::now();
            let until = published.lock().unwrap().len() + 40 + round;
            wait_for(|| published.lock().unwrap().len() >= until).await;
            if edit.is_none() {
                // Also what earlier lists asked for: pairs that still drain are ended by a pause, too.
                let due: Vec<String> = certain(&published.lock().unwrap(), &spells, &droppable)
                    .filter(|p| p.done < settled)
                    .map(|p| p.id.clone())
                    .collect();
                receiver
                    .wait_until(|log| due.iter().all(|id| log.times(id) > 0), PATIENCE)
                    .await;
            }
            let asked = Instant::now();
            let patch = match edit {
                Some(list) => SubscriptionPatch {
                    topic_patterns: Some(parse(list)),
                    enabled: Some(true),
                    ..SubscriptionPatch::default()
                },
                None => SubscriptionPatch {
                    enabled: Some(false),
                    ..SubscriptionPatch::default()
                },
            };
            rig.patch(&subscription.uuid, patch).await;
            let answered = Instant::now();
            if edit.is_none() {
                droppable.push((settled, answered));
            }
            spells.push(Spell {
                asked,
                answered,
                patterns: parse(edit.unwrap_or_default()),
            });
        }
    }
    stop.cancel();
    publisher.await.unwrap();

    let published = std::mem::take(&mut *published.lock().unwrap());
    let surely: HashMap<&str, &Topic> = certain(&published, &spells, &droppable)
        .map(|p| (p.id.as_str(), &p.topic))
        .collect();
    assert!(
        surely.len() > 100,
        "the test publishes enough: {}",
        surely.len()
    );
    receiver
        .wait_until(|log| surely.keys().all(|id| log.times(id) > 0), PATIENCE)
        .await;
    neighbour
        .wait_until(
            |log| published.iter().all(|p| log.times(&p.id) > 0),
            PATIENCE,
        )
        .await;
    rig.drain().await;

    for p in &published {
        let times = receiver.log(|log| log.times(&p.id));
        let perhaps = possible(p, &spells).any(|spell| wants(spell, &p.topic));
        let allowed = if perhaps { 1 } else { 0 };
        assert!(
            times <= allowed,
            "{} on {} arrived {times} times",
            p.id,
            p.topic
        );
        assert_eq!(
            neighbour.log(|log| log.times(&p.id)),
            1,
            "the neighbour's {}",
            p.id
        );
    }
}

async fn publish(
    bus: Bus,
    published: Arc<Mutex<Vec<Published>>>,
    stop: tokio_util::sync::CancellationToken,
) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    for topic in TOPICS.iter().cycle() {
        ticks.tick().await;
        if stop.is_cancelled() {
            return;
        }
        let event = event(topic);
        let begun = Instant::now();
        let publication = Publication {
            topic: event.topic.clone(),
            bytes: event.envelope(),
            dedup: None,
        };
        bus.publish(vec![publication]).await.unwrap();
        published.lock().unwrap().push(Published {
            id: event.id.to_string(),
            topic: event.topic,
            begun,
            done: Instant::now(),
        });
    }
}

/// The lists that may have held at the moment the bus took the event.
fn possible<'a>(p: &'a Published, spells: &'a [Spell]) -> impl Iterator<Item = &'a Spell> {
    spells.iter().enumerate().filter_map(move |(index, spell)| {
        let over = spells.get(index + 1).map(|next| next.answered);
        (p.done >= spell.asked && over.is_none_or(|over| p.begun <= over)).then_some(spell)
    })
}

fn wants(spell: &Spell, topic: &Topic) -> bool {
    spell.patterns.iter().any(|pattern| pattern.matches(topic))
}

/// The events that must arrive: whichever list held, it asked for them, and no pause dropped them.
fn certain<'a>(
    published: &'a [Published],
    spells: &'a [Spell],
    droppable: &'a [(Instant, Instant)],
) -> impl Iterator<Item = &'a Published> {
    published
        .iter()
        .filter(|p| {
            !droppable
                .iter()
                .any(|(from, to)| p.done >= *from && p.begun <= *to)
        })
        .filter(|p| possible(p, spells).all(|spell| wants(spell, &p.topic)))
}

async fn wait_for(condition: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let reached = async {
        while !condition() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached)
        .await
        .expect("events go on being published");
}
