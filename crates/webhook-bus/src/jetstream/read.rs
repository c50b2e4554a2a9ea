//! Reading what the stream has, apart from consumers.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_nats::Message as Reply;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use serde_json::{Value, json};
use webhook_model::{Topic, TopicPattern, UtcTime};

use super::{
    api::{ask, code, number, request, text},
    core::Core,
    place::Place,
};
use crate::{BusError, Message, message::Entry};

const READING: &str = "reading an event";
/// Most single reads under way at once.
const READS: usize = 16;
/// Most bytes read at once; the last message may exceed it.
const CHUNK_BYTES: usize = 4 << 20;
/// Most messages looked at when looking back, and most that are found.
const RECENT_SEEN: usize = 100_000;
const RECENT_FOUND: usize = 1_000;
/// Most messages asked for at once when looking back.
const RECENT_BATCH: usize = 500;
/// When a look back is given up, its consumer goes by itself.
const RECENT_IDLE: Duration = Duration::from_secs(30);

/// Reads these messages, as many as [`CHUNK_BYTES`] allow and at least one; says how far it came.
pub(super) async fn fetch(core: &Core, seqs: &[u64]) -> Result<(Vec<Message>, usize), BusError> {
    core.known().await?;
    let incarnation: Arc<str> = core.incarnation().unwrap_or_default().into();
    // Boxed, or the compiler cannot see that they may move between threads.
    let reads: Vec<BoxFuture<'_, _>> = seqs.iter().map(|&seq| one(core, seq).boxed()).collect();
    let mut reads = stream::iter(reads).buffered(READS);
    let (mut found, mut came, mut bytes) = (Vec::new(), 0, 0);
    while let Some(read) = reads.next().await {
        came += 1;
        if let Some(stored) = read? {
            bytes += stored.bytes.len();
            found.push(stored.message(&incarnation));
        }
        if bytes >= CHUNK_BYTES {
            break;
        }
    }
    Ok((found, came))
}

struct Stored {
    seq: u64,
    topic: Topic,
    at: UtcTime,
    bytes: Bytes,
}

impl Stored {
    /// None where the subject is no topic of events; fails where the time is none.
    fn new(seq: u64, topic: &str, at: &str, bytes: Bytes) -> Result<Option<Self>, String> {
        let at = UtcTime::parse_sql(at).map_err(|error| error.to_string())?;
        let topic = Topic::parse(topic)
            .inspect_err(|error| tracing::warn!(seq, %error, "skipping a message of the stream"));
        Ok(topic.ok().map(|topic| Self {
            seq,
            topic,
            at,
            bytes,
        }))
    }

    fn message(self, incarnation: &Arc<str>) -> Message {
        let Self {
            seq,
            topic,
            at,
            bytes,
        } = self;
        let entry = Entry::new(seq, topic, bytes, at, None, incarnation.clone());
        Message::new(Arc::new(entry), false)
    }
}

/// One message; none if it is gone.
async fn one(core: &Core, seq: u64) -> Result<Option<Stored>, BusError> {
    if core.is_direct() {
        let subject = format!("$JS.API.DIRECT.GET.{}", core.config.stream);
        let body = Bytes::from(json!({ "seq": seq }).to_string());
        let reply = request(&core.link, READING, subject, body, None).await?;
        if let Some(stored) = reply.and_then(direct) {
            return Ok(Some(stored));
        }
        // The replica that answered may lag behind, or make no sense: the leader knows.
    }
    let Some(message) = get(core, &json!({ "seq": seq })).await? else {
        return Ok(None);
    };
    stored(seq, &message).map_err(|what| core.link.garbled(READING, what))
}

/// The leader's word on a message.
fn stored(seq: u64, message: &Value) -> Result<Option<Stored>, String> {
    // An event without a byte has no data at all.
    let data = message["data"].as_str().unwrap_or_default();
    let bytes = STANDARD.decode(data).map_err(|error| error.to_string())?;
    let (subject, time) = (text(message, "/subject")?, text(message, "/time")?);
    Stored::new(seq, subject, time, bytes.into())
}

/// The newest message that matches, by the leader's word.
pub(super) async fn newest(
    core: &Core,
    pattern: &TopicPattern,
) -> Result<Option<Message>, BusError> {
    core.known().await?;
    let incarnation: Arc<str> = core.incarnation().unwrap_or_default().into();
    let Some(message) = get(core, &json!({ "last_by_subj": pattern.as_str() })).await? else {
        return Ok(None);
    };
    let found = number(&message, "/seq").and_then(|seq| stored(seq, &message));
    let found = found.map_err(|what| core.link.garbled(READING, what))?;
    Ok(found.map(|stored| stored.message(&incarnation)))
}

fn direct(reply: Reply) -> Option<Stored> {
    if reply.status.is_some() {
        return None;
    }
    let headers = reply.headers?;
    let text = |key: &str| headers.get(key).map(|it| it.as_str().to_owned());
    let seq = text("Nats-Sequence")?.parse().ok()?;
    Stored::new(
        seq,
        &text("Nats-Subject")?,
        &text("Nats-Time-Stamp")?,
        reply.payload,
    )
    .ok()?
}

/// The leader's word on the first message at or above `seq` that matches.
pub(super) async fn next_matching(
    core: &Core,
    seq: u64,
    filter: &str,
) -> Result<Option<u64>, BusError> {
    let found = get(core, &json!({ "seq": seq, "next_by_subj": filter })).await?;
    let seq = found.map(|message| number(&message, "/seq")).transpose();
    seq.map_err(|what| core.link.garbled(READING, what))
}

async fn get(core: &Core, body: &Value) -> Result<Option<Value>, BusError> {
    let subject = format!("STREAM.MSG.GET.{}", core.config.stream);
    match ask(&core.link, READING, &subject, body).await? {
        Ok(mut answer) => match answer["message"].take() {
            message @ Value::Object(_) => Ok(Some(message)),
            _ => Err(core.link.garbled(READING, "it has no message")),
        },
        Err(refusal) if matches!(refusal.code, code::NO_MESSAGE | code::NO_STREAM) => Ok(None),
        Err(refusal) => Err(refusal.error(&core.link, READING)),
    }
}

/// The newest messages since then, by a consumer that only looks. Then is by the server's clock.
pub(super) async fn recent(
    core: &Core,
    pattern: &TopicPattern,
    since: UtcTime,
) -> Result<Vec<Message>, BusError> {
    const DOING: &str = "looking back";
    core.known().await?;
    let stream = &core.config.stream;
    let config = json!({
        "deliver_policy": "by_start_time",
        "opt_start_time": since.rfc3339(),
        "filter_subject": pattern.as_str(),
        "ack_policy": "none",
        "replay_policy": "instant",
        "inactive_threshold": nanos(RECENT_IDLE),
        "mem_storage": true,
        "num_replicas": 1,
    });
    let body = json!({"stream_name": stream, "config": config});
    let asked = ask(
        &core.link,
        DOING,
        &format!("CONSUMER.CREATE.{stream}"),
        &body,
    )
    .await?;
    let made = asked.map_err(|refusal| refusal.error(&core.link, DOING))?;
    let garbled = |what: String| core.link.garbled(DOING, what);
    let name = text(&made, "/name").map_err(garbled)?;
    let mut left = number(&made, "/num_pending").map_err(garbled)?;
    let incarnation: Arc<str> = core.incarnation().unwrap_or_default().into();
    let mut found = VecDeque::new();
    let mut looked = 0;
    let inbox = core.link.client.new_inbox();
    let subscribed = core.link.client.subscribe(inbox.clone()).await;
    let mut messages = subscribed.map_err(|_| core.link.away())?;
    'all: while left > 0 && looked < RECENT_SEEN {
        let wanted = json!({"batch": RECENT_BATCH, "expires": nanos(core.link.wait)});
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        let payload = Bytes::from(wanted.to_string());
        let sent = core
            .link
            .client
            .publish_with_reply(subject, inbox.clone(), payload);
        sent.await.map_err(|_| core.link.away())?;
        for _ in 0..RECENT_BATCH {
            let next = tokio::time::timeout(core.link.wait, messages.next()).await;
            let Ok(Some(message)) = next else {
                return Err(core.link.silent(DOING));
            };
            let place = message.reply.as_deref().and_then(Place::of);
            let Some(place) = place.filter(|_| message.status.is_none()) else {
                continue 'all;
            };
            looked += 1;
            left = place.left;
            if let Ok(topic) = Topic::parse(&message.subject) {
                let entry = Entry::new(
                    place.seq,
                    topic,
                    message.payload,
                    place.at,
                    None,
                    incarnation.clone(),
                );
                found.push_back(Message::new(Arc::new(entry), false));
            }
            if found.len() > RECENT_FOUND {
                found.pop_front();
            }
            if left == 0 {
                break 'all;
            }
        }
    }
    core.delete_consumer(name).await?;
    Ok(found.into())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(i64::MAX as u64)
}
