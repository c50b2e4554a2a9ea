//! Reads the tables, starts and stops pair tasks, and goes on doing so until it is told to stop.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use webhook_store::{Pair, StoreError};

use crate::{
    WorkerConfig, WorkerStatus,
    crew::Progress,
    guardian::Notice,
    in_hand::InHand,
    in_step,
    opening::Opening,
    pair::{Order, PairContext, PairTask, forget},
    pause::Pauses,
    plan::{Plan, plan},
    runtime::Directory,
    slots::SlotPool,
};

/// Longest pause between tries to read the tables.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A pair task that runs, as the supervisor sees it.
struct Running {
    subscription: String,
    orders: watch::Sender<Order>,
    stop: CancellationToken,
    in_hand: InHand,
    end: Option<u64>,
}

/// The state behind the loop.
pub(crate) struct Supervisor {
    context: PairContext,
    pool: SlotPool,
    directory: Directory,
    running: BTreeMap<String, Running>,
    tasks: JoinSet<String>,
    applied: watch::Sender<i64>,
    /// Told to the other workers.
    progress: watch::Sender<Progress>,
    /// What waits until something beyond a pair's end was let go of.
    settling: JoinSet<()>,
    opening: Opening,
    /// Whether every row that could be read has its pairs, as last seen.
    in_step: bool,
    status: WorkerStatus,
    /// Parent of every pair's stop token.
    stop: CancellationToken,
}

impl Supervisor {
    pub(crate) fn new(
        context: PairContext,
        directory: Directory,
        config: &WorkerConfig,
        applied: watch::Sender<i64>,
        progress: watch::Sender<Progress>,
        status: WorkerStatus,
        stop: CancellationToken,
    ) -> Self {
        let counters = context.dispatch.counters.clone();
        Self {
            context,
            pool: SlotPool::new(config.pool_slots, config.max_open_requests, counters),
            directory,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            applied,
            progress,
            settling: JoinSet::new(),
            opening: Opening::default(),
            in_step: false,
            status,
            stop,
        }
    }

    /// Reloads on every notification and at every interval until stopped, then returns once every
    /// pair task has ended. Signals and the timer lead to the same path.
    pub(crate) async fn run(mut self, reload: &Notify, interval: Duration) {
        let stop = self.stop.clone();
        let mut pauses = Pauses::new(LONGEST_PAUSE);
        let opening = self.opening.clone();
        let mut running = false;
        loop {
            let wait = match self.reload().await {
                Ok(()) => {
                    pauses.reset();
                    interval
                }
                Err(error) => {
                    if pauses.is_first() {
                        tracing::warn!(%error, "cannot read the subscriptions; trying again");
                    }
                    pauses.next_pause()
                }
            };
            let ready = self.in_step && !running;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = reload.notified() => {}
                () = self.reap() => {}
                () = opening.all_open(), if ready => {
                    running = true;
                    self.status.opened();
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
        while let Some(ended) = self.tasks.join_next().await {
            self.ended(ended);
        }
        self.settling.shutdown().await;
    }

    /// Waits for a pair task to end; forever while none runs.
    async fn reap(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => self.ended(ended),
            None => std::future::pending().await,
        }
    }

    fn ended(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(id) => {
                self.running.remove(&id);
            }
            Err(error) => {
                // Its entry goes, too, so that the next reload starts the pair anew.
                tracing::error!(%error, "a pair task failed");
                self.running
                    .retain(|_, running| !running.orders.is_closed());
            }
        }
    }

    async fn reload(&mut self) -> Result<(), StoreError> {
        let snapshot = in_step::snapshot(&self.context.store, &self.context.bus).await?;
        let share = self.context.crew.share();
        self.directory
            .update(&snapshot.subscriptions, share, || self.pool.subscription());
        let running = self
            .running
            .iter()
            .map(|(id, r)| (id.clone(), r.end))
            .collect();
        let draining = snapshot.ended.iter().filter(|pair| pair.drain);
        let handing_over = draining.map(|pair| pair.subscription.clone()).collect();
        let plan = plan(&running, &snapshot, &self.context.incarnation);
        self.apply(plan, snapshot.version, &handing_over);
        self.in_step = snapshot.out_of_step.is_empty();
        self.settle(snapshot.version);
        let read = Notice::Reloaded(snapshot.subscriptions);
        self.context.dispatch.tell(read).await;
        // Only now may messages that waited for this version go on.
        self.applied.send_replace(snapshot.version);
        Ok(())
    }

    /// Works by this version from now on. What was taken beyond the end of a pair, just before it
    /// was known, is said to be held until it was let go of.
    fn settle(&mut self, version: i64) {
        let mut held: BTreeMap<String, Vec<(InHand, u64)>> = BTreeMap::new();
        for running in self.running.values() {
            if let Some(end) = running.end.filter(|end| running.in_hand.holds_above(*end)) {
                held.entry(running.subscription.clone())
                    .or_default()
                    .push((running.in_hand.clone(), end));
            }
        }
        self.settling.abort_all();
        let holding = held.keys().cloned().collect();
        self.progress.send_replace(Progress { version, holding });
        for (subscription, pairs) in held {
            let progress = self.progress.clone();
            self.settling.spawn(async move {
                for (in_hand, end) in pairs {
                    in_hand.nothing_above(end).await;
                }
                progress.send_if_modified(|it| it.holding.remove(&subscription));
            });
        }
    }

    fn apply(&mut self, plan: Plan, version: i64, handing_over: &BTreeSet<String>) {
        for (id, end) in plan.finish {
            if let Some(running) = self.running.get_mut(&id) {
                running.end = Some(end);
                running.orders.send_replace(Order::Finish { end, version });
            }
        }
        for id in plan.stop {
            self.order(&id, Order::Stop);
        }
        for pair in plan.remove {
            if !self.order(&pair.id, Order::Remove) {
                let context = self.context.clone();
                self.tasks.spawn(async move {
                    forget(&context, &pair).await;
                    pair.id
                });
            }
        }
        for pair in plan.start {
            let succeeds = pair.end_seq.is_none() && handing_over.contains(&pair.subscription);
            self.start(pair, version, succeeds);
        }
    }

    /// Whether the pair runs and was told.
    fn order(&self, id: &str, order: Order) -> bool {
        let Some(running) = self.running.get(id) else {
            return false;
        };
        running.orders.send_replace(order);
        running.stop.cancel();
        true
    }

    fn start(&mut self, pair: Pair, version: i64, succeeds: bool) {
        let Some(runtime) = self.directory.get(&pair.subscription) else {
            return;
        };
        let order = match pair.end_seq {
            Some(end) => Order::Finish { end, version },
            None => Order::Run,
        };
        let (orders, ordered) = watch::channel(order);
        let running = Running {
            subscription: pair.subscription.clone(),
            orders,
            stop: self.stop.child_token(),
            in_hand: InHand::default(),
            end: pair.end_seq,
        };
        let id = pair.id.clone();
        let task = PairTask {
            context: self.context.clone(),
            runtime,
            pair,
            orders: ordered,
            stop: running.stop.clone(),
            in_hand: running.in_hand.clone(),
            recorded: tokio::sync::OnceCell::new(),
            succeeds: succeeds.then_some(version),
            progress: self.progress.subscribe(),
            unopened: self.opening.begin(),
        };
        self.running.insert(id.clone(), running);
        self.tasks.spawn(async move {
            task.run().await;
            id
        });
    }
}
