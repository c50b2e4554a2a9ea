use std::path::Path;

use webhook_bus::{
    Bus, Consumer, ConsumerSpec, Journal, JournalConfig, Message, Publication, Ready, Role,
};
use webhook_model::{Event, Payload, Topic, TopicPattern};

pub(crate) fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

pub(crate) fn pattern(text: &str) -> TopicPattern {
    TopicPattern::parse(text).unwrap()
}

pub(crate) fn publication(topic_text: &str) -> Publication {
    let topic = topic(topic_text);
    let event = Event::new(topic.clone(), "t", Payload::empty());
    Publication {
        topic,
        bytes: event.envelope(),
        dedup: None,
    }
}

pub(crate) fn config(dir: &Path, role: Role) -> JournalConfig {
    let mut config = JournalConfig::new(dir.join("journal.db"), role);
    config.min_free_bytes = 0;
    config
}

pub(crate) async fn open(dir: &Path, role: Role) -> Bus {
    Journal::open(config(dir, role)).await.unwrap().into()
}

pub(crate) async fn publish(bus: &Bus, topic: &str, count: usize) -> Vec<u64> {
    let batch = (0..count).map(|_| publication(topic)).collect();
    bus.publish(batch).await.unwrap()
}

pub(crate) async fn consume(bus: &Bus, name: &str, filter: &str) -> Consumer {
    let spec = ConsumerSpec {
        name: name.to_owned(),
        filter: pattern(filter),
        incarnation: bus.position().await.unwrap().incarnation,
        start_seq: 1,
        window: 64,
    };
    bus.consume(spec).await.unwrap()
}

/// Takes everything up to and including `end`, and acknowledges it.
pub(crate) async fn drain(consumer: &mut Consumer, end: u64) -> Vec<Message> {
    let acker = consumer.acker();
    let mut all = Vec::new();
    while consumer.ready(Some(end)).await.unwrap() == Ready::Available {
        let messages = consumer.take(64).await.unwrap();
        for message in &messages {
            acker.ack(message.seq).await;
        }
        all.extend(messages);
    }
    all
}

pub(crate) fn seqs(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.seq).collect()
}
