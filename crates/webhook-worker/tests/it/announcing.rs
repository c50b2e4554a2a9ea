use std::{collections::BTreeSet, time::Duration};

use webhook_model::{TopicPattern, UtcTime};
use webhook_testkit::{Behaviour, Receiver};
use webhook_worker::WorkerConfig;

use crate::rig::{PATIENCE, Rig};

/// Enough that one announcement after the other, each waiting for NATS, takes longer than a test
/// waits for anything.
const SUBSCRIPTIONS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn breakers_go_on_while_nats_hangs_and_what_they_did_is_told_afterwards() {
    let mut rig = Rig::on_servers().await;
    rig.add_worker(WorkerConfig::default()).await;
    let begun = UtcTime::now();
    // They answer once NATS hangs.
    let gone = Behaviour::status(410).after(Duration::from_secs(2));
    let receiver = Receiver::start(gone).await;
    let mut uuids = BTreeSet::new();
    for n in 0..SUBSCRIPTIONS {
        let url = receiver.url_of(&format!("/{n}"));
        let made = rig.subscribe(&format!("s{n}"), &url, &["attacker.>"]).await;
        uuids.insert(made.uuid);
    }
    rig.publish("attacker.observed").await;
    receiver.wait_for(SUBSCRIPTIONS, PATIENCE).await;
    rig.servers.as_ref().unwrap().nats.freeze();

    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let tripped = async {
        for uuid in &uuids {
            while let Some(it) = rig.store.get(uuid).await.unwrap()
                && it.state.auto_disabled_at().is_none()
            {
                ticks.tick().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, tripped)
        .await
        .expect("no breaker waits for another one's announcement");

    rig.servers.as_ref().unwrap().nats.thaw();
    let topic = TopicPattern::parse("system.webhook.tripped").unwrap();
    let told = async {
        loop {
            ticks.tick().await;
            let heard = rig.bus.recent(&topic, begun).await.unwrap_or_default();
            if heard.len() >= SUBSCRIPTIONS {
                return heard;
            }
        }
    };
    let heard = tokio::time::timeout(PATIENCE, told)
        .await
        .expect("each trip is announced");
    let told: Vec<String> = heard
        .iter()
        .map(|message| {
            let payload = message.event().unwrap().payload.as_str().to_owned();
            let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
            payload["subscription"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(told.len(), SUBSCRIPTIONS, "each once");
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), uuids);
    rig.drain().await;
}
