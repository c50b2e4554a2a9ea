//! The one thread that writes. It takes whatever is queued into one transaction, answers after the
//! commit, and notices what other processes append.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rusqlite::Connection;
use webhook_model::UtcTime;

use super::{JournalConsumer, JournalWatch};
use super::{
    bell::Bell,
    command::{Command, Publish, Queued},
    group::{Committed, Group},
    queries::ConsumerRow,
    retention::Retention,
    schema,
    shared::{Hold, Shared},
    tail::Tail,
};
use crate::{BusError, Consumer, ConsumerSpec, Publication, Watch, message::Entry};

/// How soon the appends of other processes are noticed that nobody told of, and acknowledgements are written that no
/// publication takes along. Losing them costs a look-up, never a duplicate.
const TICK: Duration = Duration::from_millis(50);
/// How often it is written down how far idle consumers are, so that a restart searches seconds of
/// events, not days.
const FLOORS: Duration = Duration::from_secs(5);
/// Most commands in one transaction, and most bytes: the first publisher in it waits for the last.
const GROUP: usize = 2_048;
const GROUP_BYTES: usize = 8 << 20;

pub(crate) struct Writer {
    pub(super) connection: Connection,
    pub(super) shared: Arc<Shared>,
    commands: Receiver<Queued>,
    /// None in the worker, whom the others tell.
    bell: Option<Bell>,
    /// None but in the worker.
    pub(super) retention: Option<Retention>,
    pub(super) tail: Tail,
    last_save: Instant,
    last_floors: Instant,
    failing: bool,
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        shared: Arc<Shared>,
        commands: Receiver<Queued>,
        bell: Option<Bell>,
        retention: Option<Retention>,
    ) -> Self {
        let now = Instant::now();
        Self {
            connection,
            shared,
            commands,
            bell,
            retention,
            tail: Tail::new(TICK),
            last_save: now,
            last_floors: now,
            failing: false,
        }
    }

    /// Runs until told to close, or until every handle is gone.
    pub(crate) fn run(mut self) {
        loop {
            let first = match self.commands.recv_timeout(self.patience()) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let open = self.round(first);
            if !open {
                break;
            }
            self.tail.follow(&self.connection, &self.shared);
            self.sweep_if_due();
            self.shared.hub().rest();
        }
        self.save_everything();
    }

    /// How long there is nothing to do if nobody asks for anything.
    fn patience(&self) -> Duration {
        let hub = self.shared.hub();
        let tick = if hub.active() {
            self.tail.due_in()
        } else if hub.has_dirty() {
            TICK
        } else {
            FLOORS
        };
        drop(hub);
        match &self.retention {
            Some(retention) => tick.min(retention.due_in()),
            None => tick,
        }
    }

    /// Deals with everything that is queued; false once it is to close.
    fn round(&mut self, first: Option<Queued>) -> bool {
        let mut group = Group::default();
        let mut after = Vec::new();
        let mut room = Vec::new();
        let (mut count, mut bytes, mut open) = (0, 0, true);
        let mut next = first;
        while let Some(queued) = next {
            count += 1;
            let (command, permit) = queued.split();
            room.push(permit);
            if let Command::Publish(publish) = &command {
                bytes += publish.cost();
            }
            match command {
                Command::Publish(publish) => self.admit(publish, &mut group),
                Command::Consume { spec, reply } => group.consumes.push((spec, reply)),
                Command::End { name, reply } => group.ends.push((name, reply)),
                Command::Close => open = false,
                other => after.push(other),
            }
            if !open || count >= GROUP || bytes >= GROUP_BYTES {
                break;
            }
            next = self.commands.try_recv().ok();
        }
        let flush = after.iter().any(|it| matches!(it, Command::Flush { .. }));
        self.add_saves(&mut group, flush);
        let flushed = self.commit(group);
        drop(room);
        for command in after {
            self.answer(command, &flushed);
        }
        open
    }

    /// Refuses what the disk has no room for, and everything once the file is not where it was.
    fn admit(&self, publish: Publish, group: &mut Group) {
        if let Err(vanished) = self.shared.still_there() {
            let _ = publish.reply.send(Err(vanished));
            return;
        }
        match self.shared.space.low(self.shared.directory()) {
            Some(low) => {
                let _ = publish.reply.send(Err(self.shared.disk_low(low)));
            }
            None => group.publishes.push(publish),
        }
    }

    /// Takes along what consumers have acknowledged, if it is time.
    fn add_saves(&mut self, group: &mut Group, now: bool) {
        let all = now || self.last_floors.elapsed() >= FLOORS;
        let mut hub = self.shared.hub();
        if all || (hub.has_dirty() && self.last_save.elapsed() >= TICK) {
            group.saves = hub.saves(all);
            self.last_save = Instant::now();
            if all {
                self.last_floors = self.last_save;
            }
        }
    }

    /// Commits and answers. Acknowledgements that fail are kept for the next time.
    fn commit(&mut self, mut group: Group) -> Result<(), BusError> {
        if group.is_empty() {
            return Ok(());
        }
        let at = UtcTime::now();
        let result = group.commit(&self.connection, &self.shared.incarnation, at);
        match result {
            Ok(committed) => {
                if !group.publishes.is_empty() {
                    crate::failpoints::crash_point!(COMMITTED);
                    if let Some(bell) = &self.bell {
                        bell.ring();
                    }
                }
                self.note(None);
                let saves = std::mem::take(&mut group.saves);
                self.shared.hub().saved(saves);
                self.committed(group, committed, at);
                Ok(())
            }
            Err(error) => {
                let error = schema::failed("write", &self.shared.path, error);
                self.note(Some(&error));
                self.shared.hub().unsaved(&group.saves);
                let only_saves = Group {
                    saves: std::mem::take(&mut group.saves),
                    ..Group::default()
                };
                let had_more = !group.is_empty();
                refuse(group, &error);
                if had_more && !only_saves.is_empty() {
                    // They may fit where events do not.
                    return self.commit(only_saves);
                }
                Err(error)
            }
        }
    }

    fn note(&mut self, failure: Option<&BusError>) {
        if let (Some(error), false) = (failure, self.failing) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(%error, cause, "publishing is refused until this is mended");
        } else if failure.is_none() && self.failing {
            tracing::info!("the journal can be written again");
        }
        self.failing = failure.is_some();
        self.shared.note(failure.map(ToString::to_string));
    }

    fn committed(&mut self, group: Group, mut committed: Committed, at: UtcTime) {
        let active = self.shared.hub().active();
        let mut answers = Vec::with_capacity(group.publishes.len());
        for (publish, seqs) in group.publishes.into_iter().zip(committed.seqs) {
            if active {
                for (publication, &seq) in publish.batch.into_iter().zip(&seqs) {
                    // The same publication twice in one group is one event.
                    if committed.new.remove(&seq) {
                        let incarnation = self.shared.incarnation.clone();
                        let Publication { topic, bytes, .. } = publication;
                        let entry = Entry::new(seq, topic, bytes, at, publish.origin, incarnation);
                        self.tail.committed(Arc::new(entry));
                    }
                }
            }
            answers.push((publish.reply, seqs));
        }
        // Whoever has the answer finds the event with consumers and watches.
        self.tail.push_own(&self.connection, &self.shared);
        for (reply, seqs) in answers {
            let _ = reply.send(Ok(seqs));
        }
        for ((spec, reply), row) in group.consumes.into_iter().zip(committed.consumers) {
            let _ = reply.send(self.open_consumer(spec, row));
        }
        for (name, reply) in group.ends {
            self.shared.hub().end(&name);
            let _ = reply.send(Ok(()));
        }
    }

    fn open_consumer(
        &mut self,
        spec: ConsumerSpec,
        row: Option<ConsumerRow>,
    ) -> Result<Consumer, BusError> {
        let Some(row) = row else {
            return Err(BusError::NoConsumer(spec.name));
        };
        if row.filter != spec.filter.as_str() {
            return Err(BusError::FilterChanged {
                name: spec.name,
                stored: row.filter,
                asked: spec.filter.to_string(),
            });
        }
        self.activate()?;
        if row.made {
            self.report_late_start(&spec.name, row.saved.floor)?;
        }
        let head = self
            .shared
            .hub()
            .open(row.id, &spec.name, &spec.filter, row.saved)?;
        Ok(Consumer::from(JournalConsumer::new(
            self.shared.clone(),
            row.id,
            spec.name,
            head,
        )))
    }

    /// From now on new events reach the ring.
    fn activate(&mut self) -> Result<(), BusError> {
        let activated = self.tail.activate(&self.connection, &self.shared);
        activated.map_err(|error| schema::failed("read", &self.shared.path, error))
    }

    /// An answer that nobody waits for any more closes what it carries.
    fn answer(&mut self, command: Command, flushed: &Result<(), BusError>) {
        match command {
            Command::Flush { reply } => {
                let _ = reply.send(flushed.clone());
            }
            Command::Watch { pattern, reply } => {
                let watch = self
                    .activate()
                    .map(|()| Watch::from(JournalWatch::new(&self.shared, &pattern)));
                let _ = reply.send(watch);
            }
            Command::Hold { reply } => {
                let hold = self.activate().map(|()| Hold::new(&self.shared));
                let _ = reply.send(hold);
            }
            Command::Look => self.tail.told(),
            #[cfg(test)]
            Command::Probe(probe) => (probe.0)(self),
            Command::Publish(_)
            | Command::Consume { .. }
            | Command::End { .. }
            | Command::Close => {}
        }
    }

    fn save_everything(&mut self) {
        let mut group = Group::default();
        self.add_saves(&mut group, true);
        // Logged where it failed; what is lost comes again.
        let _ = self.commit(group);
    }
}

impl Drop for Writer {
    /// Whoever waits learns that nothing comes any more, also after a panic.
    fn drop(&mut self) {
        self.shared.hub().close();
    }
}

fn refuse(group: Group, error: &BusError) {
    for publish in group.publishes {
        let _ = publish.reply.send(Err(error.clone()));
    }
    for (_, reply) in group.consumes {
        let _ = reply.send(Err(error.clone()));
    }
    for (_, reply) in group.ends {
        let _ = reply.send(Err(error.clone()));
    }
}
