//! What the parts of the bus share: the connection, the stream it stands for, who is open.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use async_nats::jetstream::{Context, context::ContextBuilder};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use webhook_model::TopicPattern;

use super::{
    api::{ask, code, number, text},
    config::JetStreamConfig,
    gaps,
    link::Link,
    outbox::Outbox,
    pull::Pull,
    stream::{self, StreamInfo},
};
use crate::{BusError, Gap, journal::lock};

/// Most publications whose acknowledgement is waited for at once; more wait their turn.
const MOST_PUBLISHED: usize = 4_096;
/// Pause between two looks at a stream whose cluster is still finding itself after an outage.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: JetStreamConfig,
    pub(super) link: Link,
    /// What publishes.
    pub(super) context: Context,
    pub(super) outbox: Outbox,
    /// The stream as it was last seen.
    seen: Mutex<Option<StreamInfo>>,
    /// Who sets the stream up; one at a time.
    setting_up: tokio::sync::Mutex<()>,
    /// Consumers that are open here.
    open: Mutex<HashMap<String, Weak<Pull>>>,
    /// Counts the times that the connection came back and the stream was seen again.
    pub(super) returns: watch::Sender<u64>,
    pub(super) tasks: TaskTracker,
    pub(super) closed: CancellationToken,
}

/// A consumer as the server knows it.
#[derive(Debug, Clone)]
pub(super) struct ConsumerInfo {
    pub(super) filter: String,
    /// Everything up to here was acknowledged or is not for it.
    pub(super) floor: u64,
    /// Handed out, not acknowledged.
    pub(super) out: u64,
    /// Not handed out yet.
    pub(super) left: u64,
    /// When it was made, which tells it from another one of that name.
    created: Value,
    pub(super) config: Value,
}

impl ConsumerInfo {
    /// Whatever an answer lacks is an error: a consumer without its numbers would look like one that
    /// has nothing left to do, and be removed.
    fn from_answer(answer: &Value) -> Result<Self, String> {
        let config = &answer["config"];
        Ok(Self {
            // Absent from one that takes everything.
            filter: match &config["filter_subject"] {
                Value::Null if config.is_object() => String::new(),
                _ => text(answer, "/config/filter_subject")?.to_owned(),
            },
            floor: number(answer, "/ack_floor/stream_seq")?,
            out: number(answer, "/num_ack_pending")?,
            left: number(answer, "/num_pending")?,
            created: text(answer, "/created")?.into(),
            config: config.clone(),
        })
    }

    pub(super) fn pending(&self) -> u64 {
        self.out + self.left
    }
}

impl Core {
    pub(super) async fn open(config: JetStreamConfig) -> Result<Arc<Self>, BusError> {
        let link = Link::open(&config).await?;
        let closed = CancellationToken::new();
        let (outbox, sending) = Outbox::new(link.client.clone(), link.up(), closed.clone());
        let context = ContextBuilder::new()
            .timeout(config.request_timeout)
            .ack_timeout(config.request_timeout)
            .max_ack_inflight(MOST_PUBLISHED)
            .backpressure_on_inflight(true)
            .build(link.client.clone());
        let core = Arc::new(Self {
            context,
            outbox,
            seen: Mutex::new(None),
            setting_up: tokio::sync::Mutex::new(()),
            open: Mutex::new(HashMap::new()),
            returns: watch::Sender::new(0),
            tasks: TaskTracker::new(),
            closed,
            link,
            config,
        });
        core.tasks.spawn(sending);
        if core.link.is_up()
            && let Err(error) = core.set_up().await
            && !error.is_connection()
        {
            core.closed.cancel();
            return Err(error);
        }
        core.spawn_until_closed(watch_returns);
        core.spawn_until_closed(watch_elections);
        core.spawn_until_closed(gaps::watch);
        Ok(core)
    }

    /// Runs a part that holds nothing but a weak hand on the core, so that dropping the last bus
    /// ends it.
    fn spawn_until_closed<F>(self: &Arc<Self>, part: impl FnOnce(Weak<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (part, closed) = (part(Arc::downgrade(self)), self.closed.clone());
        self.tasks.spawn(async move {
            closed.run_until_cancelled(part).await;
        });
    }

    /// The stream as it is now; set up first if it is not there.
    pub(super) async fn stream(&self) -> Result<StreamInfo, BusError> {
        if self.closed.is_cancelled() {
            return Err(BusError::Closed);
        }
        self.link.ready().await?;
        if self.incarnation().is_none() {
            return self.set_up().await;
        }
        let info = self.look_twice().await?;
        match info {
            Some(info) => {
                self.saw(&info);
                Ok(info)
            }
            None => self.set_up().await,
        }
    }

    /// The stream as it is now. That it is another one, or gone, is believed when it is said twice:
    /// everything that counts on it begins anew then.
    async fn look_twice(&self) -> Result<Option<StreamInfo>, BusError> {
        let name = &self.config.stream;
        let first = stream::look(&self.link, name).await?;
        let said = first.as_ref().map(|it| &it.incarnation);
        if said == self.incarnation().as_ref() {
            return Ok(first);
        }
        let second = stream::look(&self.link, name).await?;
        if second.as_ref().map(|it| &it.incarnation) == said {
            return Ok(second);
        }
        let what = "two answers in a row name two streams";
        Err(self.link.garbled("reading the stream", what))
    }

    /// Makes or checks the stream.
    pub(super) async fn set_up(&self) -> Result<StreamInfo, BusError> {
        let _one = self.setting_up.lock().await;
        let info = stream::ensure(&self.link, &self.config).await?;
        if self.incarnation().as_ref() != Some(&info.incarnation) {
            let again = stream::look(&self.link, &self.config.stream).await?;
            if again.is_none_or(|again| again.incarnation != info.incarnation) {
                let what = "two answers in a row name two streams";
                return Err(self.link.garbled("setting up the stream", what));
            }
        }
        self.saw(&info);
        Ok(info)
    }

    /// Sees to it that the stream was seen once; most calls find that it was.
    pub(super) async fn known(&self) -> Result<(), BusError> {
        if self.closed.is_cancelled() {
            return Err(BusError::Closed);
        }
        match self.incarnation() {
            Some(_) => self.link.ready().await,
            None => self.stream().await.map(drop),
        }
    }

    fn saw(&self, info: &StreamInfo) {
        *lock(&self.seen) = Some(info.clone());
    }

    pub(super) fn incarnation(&self) -> Option<String> {
        lock(&self.seen).as_ref().map(|it| it.incarnation.clone())
    }

    /// What the stream captures; what it is to capture while nobody has seen it.
    pub(super) fn subjects(&self) -> Arc<[TopicPattern]> {
        let seen = lock(&self.seen);
        match seen.as_ref() {
            Some(info) => info.subjects.clone(),
            None => self.config.subjects.as_slice().into(),
        }
    }

    pub(super) fn is_direct(&self) -> bool {
        lock(&self.seen).as_ref().is_some_and(|it| it.direct)
    }

    /// A consumer as it is now; none if there is none.
    pub(super) async fn consumer(&self, name: &str) -> Result<Option<ConsumerInfo>, BusError> {
        const DOING: &str = "reading a consumer";
        let subject = format!("CONSUMER.INFO.{}.{name}", self.config.stream);
        match ask(&self.link, DOING, &subject, &json!({})).await? {
            Ok(answer) => ConsumerInfo::from_answer(&answer)
                .map(Some)
                .map_err(|what| self.link.garbled(DOING, what)),
            Err(refusal) if matches!(refusal.code, code::NO_CONSUMER | code::NO_STREAM) => Ok(None),
            Err(refusal) => Err(refusal.error(&self.link, DOING)),
        }
    }

    /// Makes a durable consumer, or changes what may be changed of one.
    pub(super) async fn put_consumer(&self, config: Value) -> Result<ConsumerInfo, BusError> {
        const DOING: &str = "making a consumer";
        let stream = &self.config.stream;
        let part = |pointer: &str| {
            let found = text(&config, pointer).map(str::to_owned);
            found.map_err(|what| self.link.garbled(DOING, what))
        };
        let (name, filter) = (part("/durable_name")?, part("/filter_subject")?);
        let subject = format!("CONSUMER.CREATE.{stream}.{name}.{filter}");
        let body = json!({"stream_name": stream, "config": config});
        match ask(&self.link, DOING, &subject, &body).await? {
            Ok(answer) => {
                ConsumerInfo::from_answer(&answer).map_err(|what| self.link.garbled(DOING, what))
            }
            Err(refusal) if refusal.code == code::NO_STREAM => {
                Err(BusError::NoStream(stream.clone()))
            }
            Err(refusal) => Err(refusal.error(&self.link, DOING)),
        }
    }

    pub(super) async fn delete_consumer(&self, name: &str) -> Result<(), BusError> {
        const DOING: &str = "removing a consumer";
        self.known().await?;
        // Who has it open here must not make it again.
        let pull = lock(&self.open).get(name).and_then(Weak::upgrade);
        if let Some(pull) = pull {
            pull.fail(BusError::NoConsumer(name.to_owned()));
        }
        let Some(found) = self.consumer(name).await? else {
            return Ok(());
        };
        let subject = format!("CONSUMER.DELETE.{}.{name}", self.config.stream);
        match ask(&self.link, DOING, &subject, &json!({})).await? {
            Ok(_) => Ok(()),
            Err(refusal) if matches!(refusal.code, code::NO_CONSUMER | code::NO_STREAM) => Ok(()),
            // nats-server 2.9 may have removed it and stumbled over its files.
            Err(refusal) => match self.consumer(name).await? {
                Some(still) if still.created == found.created => {
                    Err(refusal.error(&self.link, DOING))
                }
                _ => Ok(()),
            },
        }
    }

    /// Takes note of an open consumer; fails if it is open already.
    pub(super) fn opened(&self, name: &str, pull: &Arc<Pull>) -> Result<(), BusError> {
        let mut open = lock(&self.open);
        if open
            .get(name)
            .and_then(Weak::upgrade)
            .is_some_and(|it| it.is_open())
        {
            return Err(BusError::ConsumerOpen(name.to_owned()));
        }
        open.retain(|_, pull| pull.strong_count() > 0);
        open.insert(name.to_owned(), Arc::downgrade(pull));
        Ok(())
    }

    /// Those that are open.
    pub(super) fn consumers(&self) -> Vec<Arc<Pull>> {
        let open = lock(&self.open);
        let all = open.values().filter_map(Weak::upgrade);
        all.filter(|it| it.is_open()).collect()
    }

    /// Tells of what retention took.
    pub(super) fn report(&self, gap: Gap) {
        tracing::warn!(
            consumer = %gap.consumer,
            from = gap.from,
            to = gap.to,
            count = gap.count,
            "retention took events that were not delivered yet"
        );
        let sent = self.config.gaps.as_ref().map(|gaps| gaps.try_send(gap));
        if let Some(Err(mpsc::error::TrySendError::Full(_))) = sent {
            tracing::warn!("nobody takes note of that gap but this log");
        }
    }

    pub(super) async fn close(&self) -> Result<(), BusError> {
        if self.closed.is_cancelled() {
            return Ok(());
        }
        // Also those that were dropped a moment ago: what they had is still to be given back.
        let all: Vec<_> = lock(&self.open)
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for pull in &all {
            pull.shut();
        }
        for pull in all {
            pull.ended().await;
        }
        let flushed = self.outbox.flush(&self.link).await;
        self.closed.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        // The last clone of the client ends the connection; draining it does so for all.
        let _ = self.link.client.drain().await;
        flushed
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

/// After each return of the connection: looks whether the stream is still the same, then has the
/// consumers ask anew.
async fn watch_returns(core: Weak<Core>) {
    let Some(mut comings) = core.upgrade().map(|core| core.link.comings()) else {
        return;
    };
    while comings.changed().await.is_ok() {
        loop {
            let Some(core) = core.upgrade() else { return };
            match core.stream().await {
                Ok(_) => break core.returns.send_modify(|count| *count += 1),
                Err(error) => tracing::debug!(%error, "the stream is not there yet"),
            }
            drop(core);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// A consumer whose leader was lost forgets who asked: the new leader says that it leads, and is
/// asked at once. Without the right to hear it, the missing heartbeat tells the same later.
async fn watch_elections(core: Weak<Core>) {
    const LED: &str = "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED";
    let Some(strong) = core.upgrade() else { return };
    let subject = format!("{LED}.{}.*", strong.config.stream);
    let subscribed = strong.link.client.subscribe(subject).await;
    drop(strong);
    let Ok(mut elections) = subscribed else {
        return;
    };
    while let Some(election) = elections.next().await {
        let Some(core) = core.upgrade() else { return };
        let name = election.subject.rsplit('.').next().unwrap_or_default();
        let pull = lock(&core.open).get(name).and_then(Weak::upgrade);
        if let Some(pull) = pull {
            pull.ask_again();
        }
    }
}
