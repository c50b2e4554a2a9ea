//! The task of one (subscription, pattern) pair: takes what its window allows from its own bus
//! consumer and starts a delivery for each message.

mod context;
mod head;
mod order;
mod seen;

use std::{sync::Arc, time::Duration};

use tokio::sync::{OnceCell, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use webhook_bus::{BusError, Consumer, ConsumerSpec, Message, Ready};
use webhook_store::{DeliveryRecord, Head, Pair};

use crate::{
    crew::Progress,
    gate::Pass,
    in_hand::InHand,
    job::Job,
    opening::Unopened,
    pause::Pauses,
    recorder::{Outcome, Release},
    runtime::{Runtime, in_all},
    send::Delivery,
};

pub(crate) use context::{PairContext, forget};
pub(crate) use order::Order;

/// Most messages taken in one go; they wait for one freshness query and one look-up together.
const TAKE: usize = 64;
/// Longest pause between tries when the bus or the database does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One pair at work.
pub(crate) struct PairTask {
    pub(crate) context: PairContext,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) pair: Pair,
    pub(crate) orders: watch::Receiver<Order>,
    /// Cancelled with `Stop` and `Remove`, and at shutdown.
    pub(crate) stop: CancellationToken,
    pub(crate) in_hand: InHand,
    /// The last event on record when the first was taken, by its place on the bus.
    pub(crate) recorded: OnceCell<Option<u64>>,
    /// Set where this pair begins where another of its subscription ends: until every worker has
    /// let go of what it took beyond that end, this one could not see that it was sent already.
    /// The value is the config version that said so.
    pub(crate) succeeds: Option<i64>,
    /// How far this worker is with what ended.
    pub(crate) progress: watch::Receiver<Progress>,
    /// Told when the consumer is there.
    pub(crate) unopened: Unopened,
}

impl PairTask {
    /// Runs until ordered to go, and returns when its last delivery has ended. A pair that was
    /// finished or removed is then gone from the bus and from the tables.
    pub(crate) async fn run(self) {
        let stop = self.stop.clone();
        let drained = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = self.predecessors_done() => self.consume().await,
        };
        let order = *self.orders.borrow();
        match order {
            Order::Finish { version, .. } if drained => {
                // Until then its row tells whoever begins where it ends to wait.
                let uuid = &self.pair.subscription;
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = self.context.crew.past(version, uuid) => {
                        forget(&self.context, &self.pair).await;
                    }
                }
            }
            Order::Remove => forget(&self.context, &self.pair).await,
            Order::Run | Order::Stop | Order::Finish { .. } => {}
        }
    }

    async fn predecessors_done(&self) {
        let Some(version) = self.succeeds else { return };
        let uuid = &self.pair.subscription;
        let mut progress = self.progress.clone();
        let past = progress.wait_for(|it| it.is_past(version, uuid));
        if past.await.map(drop).is_err() {
            // The supervisor has gone, and this pair is told to stop.
            std::future::pending().await
        }
        self.context.crew.past(version, uuid).await;
    }

    /// Whether the pair came to its end with everything delivered.
    async fn consume(&self) -> bool {
        let Some(mut consumer) = self.open().await else {
            return false;
        };
        let deliveries = TaskTracker::new();
        let mut pauses = Pauses::new(LONGEST_PAUSE);
        let mut window = in_all(&self.runtime.current().settings);
        let drained = loop {
            let wanted = in_all(&self.runtime.current().settings);
            let stepped = async {
                if wanted != window {
                    consumer.set_window(wanted).await?;
                    window = wanted;
                }
                self.step(&mut consumer, &deliveries).await
            };
            match stepped.await {
                Ok(Step::Taken) => pauses.reset(),
                Ok(Step::Drained) => break true,
                Ok(Step::Stopped) => break false,
                Err(error) => {
                    if pauses.is_first() {
                        tracing::warn!(%error, subscription = %self.runtime.uuid, "cannot take events off the bus; trying again");
                    }
                    self.context.look_at_bus().await;
                    if !self.pause(&mut pauses).await {
                        break false;
                    }
                }
            }
        };
        deliveries.close();
        deliveries.wait().await;
        // What was delivered is also committed before the consumer goes: whoever opens it next finds
        // it on record.
        self.in_hand.empty().await;
        drained
    }

    async fn step(
        &self,
        consumer: &mut Consumer,
        deliveries: &TaskTracker,
    ) -> Result<Step, BusError> {
        let mut orders = self.orders.clone();
        let order = *orders.borrow_and_update();
        let waiting = async {
            // What cannot be sent now is left to the other workers that share the consumer.
            self.runtime.gate.passable().await;
            self.runtime.window.room().await;
            if let Some(head) = self.head().await {
                return Ok(Next::Head(head));
            }
            Ok(match consumer.ready(order.end()).await? {
                Ready::Past => Next::End,
                Ready::Available => Next::Messages(self.runtime.gate.enter().await),
            })
        };
        let next = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(Step::Stopped),
            // A new order may end the pair while it waits.
            changed = orders.changed() => {
                return Ok(if changed.is_ok() { Step::Taken } else { Step::Stopped });
            }
            next = waiting => next?,
        };
        match next {
            Next::End => return Ok(Step::Drained),
            Next::Head(head) => return Ok(self.try_head(head, deliveries).await),
            Next::Messages(Pass::Probe) => return self.probe(consumer).await,
            Next::Messages(Pass::Open) => {}
        }
        let permits = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(Step::Stopped),
            permits = self.runtime.window.acquire(TAKE) => permits,
        };
        if !self.runtime.gate.is_open() {
            // It was shut while the window was full.
            return Ok(Step::Taken);
        }
        let Some(messages) = self.take(consumer, permits.len()).await? else {
            return Ok(Step::Stopped);
        };
        if !messages.is_empty() {
            crate::failpoints::crash_point!(TAKEN);
        }
        for (message, permit) in messages.into_iter().zip(permits) {
            let delivery = Delivery {
                dispatch: self.context.dispatch.clone(),
                runtime: self.runtime.clone(),
                stop: self.stop.clone(),
                acker: consumer.acker(),
                in_hand: self.in_hand.clone(),
                permit,
            };
            match self.job(&message) {
                Ok(job) => drop(deliveries.spawn(delivery.run(job))),
                Err(record) => delivery.record(*record).await,
            }
        }
        Ok(Step::Taken)
    }

    /// One attempt with the oldest message; the breaker learns what it came to. An answer that
    /// speaks of the endpoint alone leaves the event waiting, any other moves it along its course.
    async fn probe(&self, consumer: &mut Consumer) -> Result<Step, BusError> {
        let offer_again = || self.runtime.gate.offer_probe(false);
        let probing = &self.runtime.probing;
        // Where the order counts, no event goes ahead of one that waits.
        let ordered = self.runtime.current().settings.ordered();
        let look = if ordered { 1 } else { probing.look() };
        let taken = self.take(consumer, look).await;
        let Ok(Some(mut messages)) = taken else {
            offer_again();
            return taken.map(|_| Step::Stopped);
        };
        if messages.is_empty() {
            offer_again();
            return Ok(Step::Taken);
        }
        let place = if ordered {
            Some(0)
        } else {
            probing.untried(messages.iter().map(|it| it.seq))
        };
        let Some(place) = place else {
            // A row goes first, if any waits.
            self.give_back(consumer, &messages);
            self.runtime.gate.offer_probe(true);
            return Ok(Step::Taken);
        };
        let message = messages.swap_remove(place);
        self.give_back(consumer, &messages);
        let dispatch = &self.context.dispatch;
        let release = Release::Message {
            acker: consumer.acker(),
            in_hand: self.in_hand.clone(),
        };
        let job = match self.job(&message) {
            Ok(job) => job,
            Err(record) => {
                let outcome = Outcome::of(*record, release);
                dispatch.recorder.record(outcome).await;
                offer_again();
                return Ok(Step::Taken);
            }
        };
        let played = dispatch.probe(&job, &self.runtime, &self.stop).await;
        let concluded = dispatch
            .conclude_probe(&job, &self.runtime, played, release)
            .await;
        if !concluded {
            probing.tried_message(message.seq);
            self.give_back(consumer, &[message]);
        }
        Ok(Step::Taken)
    }

    fn job(&self, message: &Message) -> Result<Job, Box<DeliveryRecord>> {
        Job::from_message(
            message,
            &self.pair.id,
            &self.context.incarnation,
            &self.runtime,
        )
    }

    /// Takes messages, and returns those that are to be sent: the pair's own, asked for, not sent
    /// before. None when it is to stop; they are given back then.
    async fn take(
        &self,
        consumer: &mut Consumer,
        max: usize,
    ) -> Result<Option<Vec<Message>>, BusError> {
        let messages = consumer.take(max).await?;
        for message in &messages {
            self.in_hand.insert(message.seq);
        }
        let confirmed = tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            confirmed = self.context.freshness.confirm() => confirmed.is_ok(),
        };
        let seen = if confirmed {
            self.seen(consumer, &messages).await
        } else {
            None
        };
        let Some(seen) = seen else {
            self.give_back(consumer, &messages);
            return Ok(None);
        };
        let order = *self.orders.borrow();
        let mut wanted = Vec::with_capacity(messages.len());
        for message in messages {
            let seq = message.seq;
            if !order.wants(seq) {
                // It belongs to the pair that begins where this one ends.
                self.in_hand.remove(seq);
            } else if seen.contains(&seq) {
                self.context.dispatch.counters.seen_before();
                self.in_hand.remove(seq);
                consumer.acker().ack(seq).await;
            } else if !self.pair.filter.matches(&message.topic) {
                self.in_hand.remove(seq);
                consumer.acker().ack(seq).await;
            } else {
                wanted.push(message);
            }
        }
        Ok(Some(wanted))
    }

    fn give_back(&self, consumer: &mut Consumer, messages: &[Message]) {
        for message in messages {
            self.in_hand.remove(message.seq);
            consumer.release(message.seq);
        }
    }

    async fn open(&self) -> Option<Consumer> {
        let mut pauses = Pauses::new(LONGEST_PAUSE);
        loop {
            let spec = ConsumerSpec {
                name: self.pair.consumer_name(&self.context.deployment),
                filter: self.pair.filter.cover.clone(),
                incarnation: self.pair.incarnation.clone(),
                start_seq: self.pair.start_seq,
                window: in_all(&self.runtime.current().settings),
            };
            match self.context.bus.consume(spec).await {
                Ok(consumer) => {
                    self.unopened.opened();
                    return Some(consumer);
                }
                Err(error) => {
                    if pauses.is_first() {
                        tracing::warn!(%error, subscription = %self.runtime.uuid, "cannot open a bus consumer; trying again");
                    }
                    self.context.look_at_bus().await;
                    if !self.pause(&mut pauses).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Whether to go on after the pause.
    async fn pause(&self, pauses: &mut Pauses) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(pauses.next_pause()) => true,
        }
    }
}

/// What is next.
enum Next {
    /// The pair is past its end.
    End,
    /// What the events behind it wait for.
    Head(Head),
    /// Messages may be taken.
    Messages(Pass),
}

enum Step {
    Taken,
    Drained,
    Stopped,
}
