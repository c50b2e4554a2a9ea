use std::time::Duration;

use webhook_bus::{
    Bus, Consumer, ConsumerSpec, JetStream, JetStreamConfig, Message, Publication, Ready, dedup_key,
};
use webhook_model::{Event, Payload};
use webhook_testkit::NatsServer;

use crate::support::{pattern, topic};

/// Whatever is waited for comes far sooner, also on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn config(server: &NatsServer) -> JetStreamConfig {
    let mut config = JetStreamConfig::parse(&server.url()).unwrap();
    config.subjects = vec![pattern("a.>"), pattern("b.>"), pattern("system.>")];
    config
}

pub(crate) async fn open(config: JetStreamConfig) -> Bus {
    JetStream::open(config).await.unwrap().into()
}

/// A server and a bus on it.
pub(crate) async fn fresh() -> (NatsServer, Bus) {
    let server = NatsServer::start().await;
    let bus = open(config(&server)).await;
    (server, bus)
}

pub(crate) fn event(topic_text: &str, number: usize) -> Publication {
    let topic = topic(topic_text);
    let payload = Payload::parse(&format!(r#"{{"n":{number}}}"#)).unwrap();
    let event = Event::new(topic.clone(), "t", payload);
    let bytes = event.envelope();
    Publication {
        dedup: Some(dedup_key(&event.id, &topic, &bytes)),
        topic,
        bytes,
    }
}

pub(crate) async fn spec(bus: &Bus, name: &str, filter: &str, window: u32) -> ConsumerSpec {
    ConsumerSpec {
        name: name.to_owned(),
        filter: pattern(filter),
        incarnation: bus.position().await.unwrap().incarnation,
        start_seq: 1,
        window,
    }
}

pub(crate) async fn consume(bus: &Bus, name: &str, filter: &str) -> Consumer {
    let spec = spec(bus, name, filter, 64).await;
    bus.consume(spec).await.unwrap()
}

/// Waits for messages and takes them until there are so many.
pub(crate) async fn take(consumer: &mut Consumer, count: usize) -> Vec<Message> {
    let mut all = Vec::new();
    let taking = async {
        while all.len() < count {
            consumer.ready(None).await.unwrap();
            all.extend(consumer.take(count - all.len()).await.unwrap());
        }
    };
    let taken = tokio::time::timeout(PATIENCE, taking).await;
    assert!(taken.is_ok(), "{} of {count} came", all.len());
    all
}

/// Takes and acknowledges everything up to and including `end`, through outages.
pub(crate) async fn drain(consumer: &mut Consumer, end: u64) -> Vec<Message> {
    let acker = consumer.acker();
    let mut all = Vec::new();
    let draining = async {
        loop {
            match consumer.ready(Some(end)).await {
                Ok(Ready::Past) => return,
                Ok(Ready::Available) => {
                    for message in consumer.take(64).await.unwrap() {
                        acker.ack(message.seq).await;
                        all.push(message);
                    }
                }
                Err(error) => assert!(error.is_connection(), "{error}"),
            }
        }
    };
    let drained = tokio::time::timeout(PATIENCE, draining).await;
    assert!(drained.is_ok(), "{} came", all.len());
    all
}
