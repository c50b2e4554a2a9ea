//! A consumer as its worker holds it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    core::{ConsumerInfo, Core},
    pull::{Found, Pull},
    read::next_matching,
};
use crate::{BusError, ConsumerSpec, Gap, Message, Ready};

/// How long a message that was only just asked for is waited for when nothing is there.
const FRESH: Duration = Duration::from_millis(100);
/// Pause between two questions whether others have come past an end.
const PAST_POLL: Duration = Duration::from_millis(250);
/// What processes that share a consumer may have fetched ahead beyond its window, so that one that
/// is slow to take does not keep it from the others.
const AHEAD: u32 = 256;

/// An open durable pull consumer.
#[derive(Debug)]
pub(crate) struct PullConsumer {
    pull: Arc<Pull>,
    resumed_at: u64,
}

/// Acknowledges what one of them handed out.
#[derive(Debug, Clone)]
pub(crate) struct PullAcker {
    pull: Arc<Pull>,
}

/// The consumer's configuration on the server.
pub(super) fn server_config(core: &Core, spec: &ConsumerSpec) -> Value {
    json!({
        "durable_name": spec.name,
        "filter_subject": spec.filter.as_str(),
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": spec.start_seq.max(1),
        "replay_policy": "instant",
        "ack_policy": "explicit",
        "ack_wait": u64::try_from(core.config.ack_wait.as_nanos()).unwrap_or(i64::MAX as u64),
        "max_deliver": -1,
        "max_ack_pending": most_pending(spec.window),
    })
}

fn most_pending(window: u32) -> u32 {
    match window {
        0 | 1 => 1,
        window => window.saturating_add(AHEAD),
    }
}

impl PullConsumer {
    pub(super) async fn open(core: &Arc<Core>, mut spec: ConsumerSpec) -> Result<Self, BusError> {
        let stream = core.stream().await?;
        if stream.incarnation != spec.incarnation {
            spec.start_seq = 1;
        }
        match core.consumer(&spec.name).await? {
            Some(found) => in_step(core, &spec, &found).await?,
            None => {
                core.put_consumer(server_config(core, &spec)).await?;
                if stream.first_seq > spec.start_seq.max(1) && spec.start_seq > 0 {
                    core.report(late_start(&spec, stream.first_seq));
                }
            }
        }
        let pull = Pull::new(core.clone(), spec, &stream.incarnation);
        core.opened(pull.name(), &pull)?;
        core.tasks.spawn(pull.clone().run());
        Ok(Self {
            pull,
            resumed_at: stream.last_seq,
        })
    }

    pub(crate) async fn ready(&mut self, end: Option<u64>) -> Result<Ready, BusError> {
        let pull = &self.pull;
        let _call = pull.call(end);
        loop {
            let mut woken = std::pin::pin!(pull.wake.notified());
            // Registered before looking, so that nothing falls in between.
            woken.as_mut().enable();
            match (pull.first()?, end) {
                (Found::Message(_), None) => return Ok(Ready::Available),
                (Found::Message(first), Some(end)) if first <= end => return Ok(Ready::Available),
                (Found::Gone, Some(_)) => return Ok(Ready::Past),
                (Found::Gone, None) => return Err(BusError::NoConsumer(pull.name().to_owned())),
                (_, Some(end)) if self.is_past(end).await? => return Ok(Ready::Past),
                (_, Some(_)) => _ = timeout_at(Instant::now() + PAST_POLL, woken).await,
                (_, None) => woken.await,
            }
        }
    }

    pub(crate) async fn take(&mut self, max: usize) -> Result<Vec<Message>, BusError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let pull = &self.pull;
        {
            let _call = pull.call(None);
            // What went back to the server, or was only just asked for, comes in a moment.
            let until = pull.fresh_until(FRESH);
            loop {
                let mut woken = std::pin::pin!(pull.wake.notified());
                woken.as_mut().enable();
                let found = pull.first()?;
                if !matches!(found, Found::Nothing) || timeout_at(until, woken).await.is_err() {
                    break;
                }
            }
        }
        let taken = pull.take(max)?;
        let message = |it: super::held::Delivery| Message::new(it.entry, it.redelivered);
        Ok(taken.into_iter().map(message).collect())
    }

    pub(crate) fn release(&self, seq: u64) {
        self.pull.release(seq);
    }

    pub(crate) fn acker(&self) -> PullAcker {
        PullAcker {
            pull: self.pull.clone(),
        }
    }

    pub(crate) fn resumed_at(&self) -> u64 {
        self.resumed_at
    }

    pub(crate) async fn set_window(&self, window: u32) -> Result<(), BusError> {
        let (core, name) = (&self.pull.core, self.pull.name());
        let found = core.consumer(name).await?;
        let found = found.ok_or_else(|| BusError::NoConsumer(name.to_owned()))?;
        let mut config = found.config;
        if config["max_ack_pending"] != most_pending(window) {
            config["max_ack_pending"] = most_pending(window).into();
            core.put_consumer(config).await?;
        }
        self.pull.set_window(window);
        Ok(())
    }

    /// Whether everything up to `end` that is for this consumer was acknowledged, by whomever.
    async fn is_past(&self, end: u64) -> Result<bool, BusError> {
        let core = &self.pull.core;
        let Some(info) = core.consumer(self.pull.name()).await? else {
            // Gone, or soon known to be on another stream.
            let same = core.stream().await?.incarnation == self.pull.incarnation();
            return Ok(same);
        };
        let floor = info.floor.max(self.pull.start().saturating_sub(1));
        if floor >= end || info.pending() == 0 {
            return Ok(true);
        }
        // The floor is contiguous: the first match above it is what is still to come.
        let next = next_matching(core, floor + 1, self.pull.filter()).await?;
        Ok(next.is_none_or(|next| next > end))
    }
}

impl Drop for PullConsumer {
    fn drop(&mut self) {
        self.pull.shut();
    }
}

impl PullAcker {
    pub(crate) fn ack(&self, seq: u64) {
        self.pull.ack(seq);
    }
}

/// Sees to it that a consumer that is there already is the one that is wanted.
async fn in_step(core: &Core, spec: &ConsumerSpec, found: &ConsumerInfo) -> Result<(), BusError> {
    if found.filter != spec.filter.as_str() {
        return Err(BusError::FilterChanged {
            name: spec.name.clone(),
            stored: found.filter.clone(),
            asked: spec.filter.as_str().to_owned(),
        });
    }
    let wanted = server_config(core, spec);
    let mut config = found.config.clone();
    for key in ["ack_wait", "max_ack_pending", "max_deliver"] {
        config[key] = wanted[key].clone();
    }
    if config != found.config {
        core.put_consumer(config).await?;
    }
    Ok(())
}

/// What was gone before the consumer was made.
fn late_start(spec: &ConsumerSpec, first: u64) -> Gap {
    let (from, to) = (spec.start_seq.max(1), first - 1);
    Gap {
        consumer: spec.name.clone(),
        from,
        to,
        count: to - from + 1,
    }
}
