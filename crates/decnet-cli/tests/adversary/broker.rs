//! DECNET's broker in wrong hands. It may order the worker to stop, which is its right, so that it does
//! everything else: frames that are none, lengths that are lies, hanging up, events twice, and floods of
//! what is no event.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use webhook_testkit::Broker;

use crate::{TOPIC, pace, report::Tally};

/// Between two misdeeds. The feed comes back within a second or two, so that most of them meet it.
const EVERY: Duration = Duration::from_millis(500);
/// Events of a flood that nobody subscribed to: it has them journalled all the same, or sorts them out.
const FLOOD: usize = 500;
/// Events of each turn that everybody subscribed to, good and bad.
const SUBSCRIBED: usize = 10;

fn event(topic: &str, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [format!("EVT {topic}\n").as_bytes(), &length, body].concat()
}

/// Misbehaves in turns, for ever.
pub(crate) async fn attack(broker: Arc<Broker>, tally: Tally) {
    let deep = format!(
        r#"{{"payload":{}1{}}}"#,
        r#"{"a":"#.repeat(5_000),
        "}".repeat(5_000)
    );
    let wide = format!(r#"{{"payload":{{"w":[1{}]}}}}"#, ",1".repeat(200_000));
    let mut ticks = pace(EVERY);
    for turn in 0_u64.. {
        ticks.tick().await;
        match turn % 12 {
            0 => broker.send_raw(b"NONSENSE with arguments\n\0\0\0\0"),
            1 => broker.send_raw(b"EVT attacker.observed\n\xff\xff\xff\xff"),
            2 => broker.send_half(),
            3 => broker.hang_up(),
            4 => broker.send_raw(&[0xff; 10_000]),
            5 => broker.send_raw(&event(TOPIC, deep.as_bytes())),
            6 => broker.send_raw(&event(TOPIC, wide.as_bytes())),
            7 => broker.send_raw(&event("not..a.topic", b"{}")),
            8 => broker.send_raw(b"EVT attacker.observed\n\x00\x0f\xff\xffhalf a body and no more"),
            9 => {
                let twice = event(TOPIC, br#"{"v":1,"id":"the-same","payload":{}}"#);
                broker.send_raw(&twice.repeat(SUBSCRIBED));
            }
            10 => {
                for _ in 0..FLOOD {
                    broker.publish("noise.flood", &json!({"noise": "x".repeat(200)}));
                }
                broker.send_raw(&event("noise.flood", b"{}").repeat(FLOOD));
            }
            _ => {
                let nan = event(TOPIC, br#"{"payload":{"score":NaN}}"#);
                broker.send_raw(&nan.repeat(SUBSCRIBED));
            }
        }
        broker.publish(TOPIC, &json!({"turn": turn}));
        tally.count("broker, misdeeds");
        tally.set("broker, connections of the feed", broker.connections());
    }
}
