//! Publications, each with its acknowledgement awaited.

use async_nats::jetstream::{
    context::{PublishAckFuture, PublishError, PublishErrorKind},
    message::PublishMessage,
};
use webhook_model::{MAX_EVENT_BYTES, TopicPattern};

use super::core::Core;
use crate::{BusError, Publication};

const DOING: &str = "publishing";
/// What NATS's headers add to a message of ours; `max_payload` counts them.
const HEADER_BYTES: usize = 64;

/// JetStream takes messages one by one: when one of a batch is refused, others may be in. They are
/// recognised when the batch comes again, within the stream's duplicate window.
pub(super) async fn publish(core: &Core, batch: Vec<Publication>) -> Result<Vec<u64>, BusError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    // What can be known to fail does so before anything is sent.
    core.known().await?;
    check(core, &batch)?;
    // Sent one after the other, so that the stream has them in order; answered meanwhile.
    let mut sent = Vec::with_capacity(batch.len());
    for one in &batch {
        sent.push(send(core, one).await);
    }
    // Every answer is waited for, so that nothing is under way any more when this returns.
    let mut answers = Vec::with_capacity(batch.len());
    for (one, sent) in batch.iter().zip(sent) {
        answers.push(answer(core, one, sent).await);
    }
    crate::failpoints::crash_point!(COMMITTED);
    crate::failpoints::crash_point!(WRITING, Err(crate::failpoints::silence()));
    answers.into_iter().collect()
}

fn check(core: &Core, batch: &[Publication]) -> Result<(), BusError> {
    let subjects = core.subjects();
    let most = core.link.client.max_payload();
    for one in batch {
        let bytes = one.bytes.len();
        if bytes > MAX_EVENT_BYTES {
            return Err(BusError::TooLarge(bytes));
        }
        if bytes + HEADER_BYTES > most {
            return Err(BusError::OverServerLimit {
                bytes: bytes + HEADER_BYTES,
                limit: most,
            });
        }
        if !subjects.iter().any(|it| it.matches(&one.topic)) {
            return Err(BusError::Uncovered {
                topic: one.topic.as_str().to_owned(),
                stream: core.config.stream.clone(),
                subjects: list(&subjects),
            });
        }
    }
    Ok(())
}

fn list(subjects: &[TopicPattern]) -> String {
    let all: Vec<&str> = subjects.iter().map(TopicPattern::as_str).collect();
    all.join(", ")
}

async fn send(core: &Core, one: &Publication) -> Result<PublishAckFuture, PublishError> {
    let mut message = PublishMessage::build().payload(one.bytes.clone());
    if let Some(key) = &one.dedup {
        message = message.message_id(hex::encode(key));
    }
    let subject = one.topic.as_str().to_owned();
    core.context.send_publish(subject, message).await
}

async fn answer(
    core: &Core,
    one: &Publication,
    sent: Result<PublishAckFuture, PublishError>,
) -> Result<u64, BusError> {
    match acknowledged(sent).await {
        Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
            // Nobody captures it: the stream was deleted.
            core.set_up().await?;
            let again = acknowledged(send(core, one).await).await;
            again.map_err(|error| told(core, &error))
        }
        answered => answered.map_err(|error| told(core, &error)),
    }
}

async fn acknowledged(sent: Result<PublishAckFuture, PublishError>) -> Result<u64, PublishError> {
    Ok(sent?.await?.sequence)
}

fn told(core: &Core, error: &PublishError) -> BusError {
    match error.kind() {
        PublishErrorKind::StreamNotFound => BusError::NoStream(core.config.stream.clone()),
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => core.link.silent(DOING),
        _ => BusError::NatsRefused {
            doing: DOING,
            says: std::error::Error::source(error)
                .map_or_else(|| error.to_string(), ToString::to_string),
        },
    }
}
