use serde_json::Value;

use crate::Event;

/// What a webhook worker says of itself in [`topics::HEALTH`](crate::topics::HEALTH), this project's or
/// DECNET's, as far as others need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    deployment: Option<String>,
}

impl Heartbeat {
    /// Reads an event; none where it is no webhook worker's heartbeat.
    pub fn read(event: &Event) -> Option<Self> {
        let payload: Value = serde_json::from_str(event.payload.as_str()).ok()?;
        (payload["worker"] == "webhook").then(|| Self {
            deployment: payload["deployment"].as_str().map(ToOwned::to_owned),
        })
    }

    /// Whether its worker belongs to this deployment. DECNET's workers name none.
    pub fn is_of(&self, deployment: &str) -> bool {
        self.deployment.as_deref() == Some(deployment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Payload, Topic, topics};

    #[test]
    fn tells_workers_apart() {
        let heard = |payload| {
            let topic = Topic::parse(topics::HEALTH).unwrap();
            Heartbeat::read(&Event::new(
                topic,
                "health",
                Payload::parse(payload).unwrap(),
            ))
        };
        let decnets = heard(r#"{"worker":"webhook","ts":1.5}"#).unwrap();
        assert!(!decnets.is_of("here"));
        let odd = heard(r#"{"worker":"webhook","deployment":7}"#).unwrap();
        assert!(!odd.is_of("here"));
        let ours = heard(r#"{"worker":"webhook","deployment":"here"}"#).unwrap();
        assert!(ours.is_of("here") && !ours.is_of("there"));
        for other in ["{}", r#"{"worker":"prober"}"#, r#"{"worker":7}"#] {
            assert_eq!(heard(other), None, "{other}");
        }
    }
}
