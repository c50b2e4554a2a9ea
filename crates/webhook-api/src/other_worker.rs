//! Whether a webhook worker of another installation is alive on the same bus, by the heartbeats there.

use std::time::Duration;

use webhook_model::{Heartbeat, TopicPattern, UtcTime, topics};

use crate::api::Api;

/// A heartbeat older than two of DECNET's intervals and a little means a worker that is gone.
const ALIVE: Duration = Duration::from_secs(65);

/// When workers that count as alive were last heard.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heard {
    /// One of this installation.
    pub(crate) own: Option<UtcTime>,
    /// One of another.
    pub(crate) other: Option<UtcTime>,
}

pub(crate) async fn heard(api: &Api) -> Result<Heard, String> {
    let health = TopicPattern::parse(topics::HEALTH).expect("a constant pattern is valid");
    let since = UtcTime::now() - ALIVE;
    let recent = api.deps.bus.recent(&health, since).await;
    let deployment = api.deps.store.deployment_id();
    let mut heard = Heard::default();
    for message in recent.map_err(|error| error.to_string())? {
        let Some(heartbeat) = message.event().ok().and_then(|it| Heartbeat::read(&it)) else {
            continue;
        };
        let last = if heartbeat.is_of(deployment) {
            &mut heard.own
        } else {
            &mut heard.other
        };
        *last = Some(message.at).max(*last);
    }
    Ok(heard)
}
