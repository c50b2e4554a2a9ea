use sea_orm::ActiveValue::Set;
use webhook_model::{DeliveryStatus, TopicPattern, UtcTime};

use crate::{
    Cursor, DeliveryFilter, StoreError,
    entities::{
        delivery::{status_code, status_of},
        replay::{ActiveModel, Model},
    },
};

/// The column `state` of a job that has still something to do.
pub(crate) const RUNNING: i16 = 0;
const DONE: i16 = 1;
const FAILED: i16 = 2;

/// What is to be delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReplay {
    /// The subscription's uuid.
    pub subscription: String,
    /// The deleted subscription whose dead letters it takes over; none for its own.
    pub source: Option<String>,
    /// Dead letters, or delivered events.
    pub status: DeliveryStatus,
    /// What their topic matches.
    pub topic: Option<TopicPattern>,
    /// A part of their error.
    pub error: Option<String>,
    /// First recorded then or later.
    pub since: Option<UtcTime>,
    /// First recorded before; what comes after the job is never part of it.
    pub until: Option<UtcTime>,
}

/// A job and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// A uuid.
    pub id: String,
    /// The subscription's uuid.
    pub subscription: String,
    /// The deleted subscription whose dead letters it takes over; none for its own.
    pub source: Option<String>,
    /// Dead letters, or delivered events.
    pub status: DeliveryStatus,
    /// What their topic matches.
    pub topic: Option<TopicPattern>,
    /// A part of their error.
    pub error: Option<String>,
    /// First recorded then or later.
    pub since: Option<UtcTime>,
    /// First recorded before.
    pub until: UtcTime,
    /// Whether it goes on.
    pub state: ReplayState,
    /// Why it failed.
    pub reason: Option<String>,
    /// How many deliveries there were when it was made.
    pub matched: u64,
    /// How many of them were queued.
    pub replayed: u64,
    /// How many could not be: nothing that could be sent was kept.
    pub unavailable: u64,
    /// How many were left where they are: the subscription has a delivery of that event.
    pub present: u64,
    /// When it was made.
    pub created_at: UtcTime,
    /// When it last moved.
    pub updated_at: UtcTime,
    pub(crate) cursor: Option<Cursor>,
}

/// Whether a job goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplayState {
    /// It does.
    Running,
    /// Everything is queued.
    Done,
    /// It could not go on.
    Failed,
}

/// Whether the dead letters of one subscription can be sent to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaySource {
    /// They can.
    Usable,
    /// It is the same subscription.
    Same,
    /// It was not deleted: its dead letters are its own.
    Exists,
    /// Nothing is kept of it.
    Unknown,
}

/// What a step of a job came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayStep {
    /// There is more to do.
    Moved,
    /// Too many deliveries of the subscription wait; nothing was written.
    Full,
    /// It was the last one.
    Done,
    /// The job is not the caller's, or not where the caller saw it; nothing was written.
    Lost,
}

/// A delivered event that a job may want once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Whether the job wants it.
    pub matches: bool,
    /// Its place in the log.
    pub cursor: Cursor,
    /// The bus that `seq` counts on.
    pub incarnation: String,
    /// Its place on the bus.
    pub seq: u64,
    /// The event's id.
    pub event_id: String,
    /// Its topic.
    pub topic: String,
    /// Its type.
    pub kind: String,
}

impl ReplayState {
    /// As the API shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn code(self) -> i16 {
        match self {
            Self::Running => RUNNING,
            Self::Done => DONE,
            Self::Failed => FAILED,
        }
    }
}

impl NewReplay {
    /// The deliveries it is about, of those recorded before `now`.
    pub(super) fn filter(&self, now: UtcTime) -> DeliveryFilter {
        DeliveryFilter {
            subscription: Some(self.source.as_ref().unwrap_or(&self.subscription).clone()),
            status: Some(self.status),
            topic: self.topic.clone(),
            event_id: None,
            error: self.error.clone(),
            since: self.since,
            until: Some(self.until.map_or(now, |until| until.min(now))),
            acknowledged: None,
        }
    }
}

impl Replay {
    pub(super) fn begin(new: NewReplay, matched: u64, now: UtcTime) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            subscription: new.subscription,
            source: new.source,
            status: new.status,
            topic: new.topic,
            error: new.error,
            since: new.since,
            until: new.until.map_or(now, |until| until.min(now)),
            state: ReplayState::Running,
            reason: None,
            matched,
            replayed: 0,
            unavailable: 0,
            present: 0,
            created_at: now,
            updated_at: now,
            cursor: None,
        }
    }

    pub(super) fn filter(&self) -> DeliveryFilter {
        DeliveryFilter {
            subscription: Some(self.source.as_ref().unwrap_or(&self.subscription).clone()),
            status: Some(self.status),
            topic: self.topic.clone(),
            event_id: None,
            error: self.error.clone(),
            since: self.since,
            until: Some(self.until),
            acknowledged: None,
        }
    }
}

pub(super) fn insert(job: &Replay) -> ActiveModel {
    ActiveModel {
        subscription: Set(job.subscription.clone()),
        source: Set(job.source.clone()),
        status: Set(status_code(job.status)),
        topic: Set(job.topic.as_ref().map(|topic| topic.as_str().to_owned())),
        error: Set(job.error.clone()),
        since: Set(job.since.map(UtcTime::micros)),
        until: Set(job.until.micros()),
        matched: Set(signed(job.matched)),
        created_at: Set(job.created_at.micros()),
        lease_until: Set(None),
        lease_owner: Set(None),
        ..progress(job, job.updated_at)
    }
}

/// What a step changes.
pub(super) fn progress(job: &Replay, now: UtcTime) -> ActiveModel {
    ActiveModel {
        id: Set(job.id.clone()),
        state: Set(job.state.code()),
        reason: Set(job.reason.clone()),
        replayed: Set(signed(job.replayed)),
        unavailable: Set(signed(job.unavailable)),
        present: Set(Some(signed(job.present))),
        cursor_at: Set(job.cursor.map(|cursor| cursor.at.micros())),
        cursor_id: Set(job.cursor.map(|cursor| cursor.id)),
        updated_at: Set(now.micros()),
        ..ActiveModel::default()
    }
}

pub(super) fn decode(row: Model) -> Result<Replay, StoreError> {
    let bad = |reason: String| StoreError::BadRow {
        table: "webhook_replays",
        uuid: row.id.clone(),
        reason,
    };
    let topic = row.topic.as_deref().map(TopicPattern::parse).transpose();
    let state = [ReplayState::Running, ReplayState::Done, ReplayState::Failed]
        .into_iter()
        .find(|state| state.code() == row.state);
    let cursor = row.cursor_at.zip(row.cursor_id).map(|(at, id)| Cursor {
        at: UtcTime::from_micros(at),
        id,
    });
    Ok(Replay {
        topic: topic.map_err(|error| bad(error.to_string()))?,
        status: status_of(row.status).ok_or_else(|| bad(format!("status {}", row.status)))?,
        state: state.ok_or_else(|| bad(format!("state {}", row.state)))?,
        id: row.id,
        subscription: row.subscription,
        source: row.source,
        error: row.error,
        since: row.since.map(UtcTime::from_micros),
        until: UtcTime::from_micros(row.until),
        reason: row.reason,
        matched: unsigned(row.matched),
        replayed: unsigned(row.replayed),
        unavailable: unsigned(row.unavailable),
        present: row.present.map_or(0, unsigned),
        created_at: UtcTime::from_micros(row.created_at),
        updated_at: UtcTime::from_micros(row.updated_at),
        cursor,
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
