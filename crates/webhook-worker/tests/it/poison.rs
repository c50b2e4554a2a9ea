//! What one event or one answer can do to the others of its subscription: nothing.

use webhook_model::{Settings, State};
use webhook_testkit::{Behaviour, Receiver};

use crate::rig::{PATIENCE, Rig};

const NUL: &[u8] = b"no\0such\0thing";
/// No UTF-8: a byte that never is, a sequence cut short, a surrogate.
const LATIN: &[u8] = b"\xff\xfe \xc3( \xed\xa0\x80";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_always_fails_holds_back_no_other() {
    const OTHERS: usize = 200;
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::decide(|received| {
        let poison = received.topic() == Some("attacker.poison");
        Behaviour::status(if poison { 500 } else { 200 })
    }))
    .await;
    let settings = Settings::default()
        .with_redelivery_schedule(vec![1])
        .unwrap();
    let subscription = rig
        .subscribe_with("siem", &receiver.url(), &["attacker.>"], settings)
        .await;
    rig.publish_many("attacker.observed", OTHERS / 2).await;
    let poison = rig.publish("attacker.poison").await;
    rig.publish_many("attacker.observed", OTHERS / 2).await;
    rig.recorded(&subscription.uuid, "delivered", OTHERS).await;
    // Two rounds of four attempts take a dozen seconds; nobody waited for them.
    assert!(
        rig.rows(&subscription.uuid)
            .iter()
            .all(|row| row.status != "dead")
    );

    rig.recorded(&subscription.uuid, "dead", 1).await;
    let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
    assert_eq!(row.state, State::Active);
    rig.drain().await;
    let rows = rig.rows(&subscription.uuid);
    let dead = rows.iter().find(|row| row.status == "dead").unwrap();
    assert_eq!((&dead.event_id, dead.attempts), (&poison, 8));
    assert_eq!(dead.status_code, Some(500));
    assert!(dead.body.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_cannot_be_stored_or_never_end_stop_nobody() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::decide(|received| {
        let refusal = |body: &'static [u8]| Behaviour::Answer {
            status: 400,
            headers: vec![("content-type".into(), "text/plain; charset=utf-8".into())],
            body: body.into(),
        };
        match received.topic() {
            Some("attacker.nul") => refusal(NUL),
            Some("attacker.latin") => refusal(LATIN),
            Some("attacker.long") => Behaviour::EndlessContentLength,
            Some("attacker.endless") => Behaviour::EndlessChunked,
            _ => Behaviour::ok(),
        }
    }))
    .await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let strange = [
        "attacker.nul",
        "attacker.latin",
        "attacker.long",
        "attacker.endless",
    ];
    for topic in strange {
        rig.publish_many("attacker.observed", 5).await;
        rig.publish(topic).await;
    }
    rig.publish_many("attacker.observed", 5).await;
    receiver.wait_for(5 * 5 + strange.len(), PATIENCE).await;
    // An endless answer counts by its status.
    rig.recorded(&subscription.uuid, "delivered", 5 * 5 + 2)
        .await;
    rig.recorded(&subscription.uuid, "dead", 2).await;
    rig.drain().await;
    assert_eq!(answers(&rig), [NUL, LATIN]);
}

/// What refusals said, as it is stored.
fn answers(rig: &Rig) -> Vec<Vec<u8>> {
    let database = rusqlite::Connection::open(rig.dir.path().join("decnet.db")).unwrap();
    let mut query = database
        .prepare("SELECT answer FROM webhook_attempts ORDER BY answer")
        .unwrap();
    let found = query.query_map([], |row| row.get(0)).unwrap();
    found.map(Result::unwrap).collect()
}
