use std::net::{Ipv4Addr, TcpListener};

use tempfile::TempDir;
use webhook_model::{Event, Payload, Topic};

/// A small event on a topic, with a random id.
///
/// # Panics
/// If the topic is none.
pub fn event(topic: &str) -> Event {
    let topic = Topic::parse(topic).expect("a topic");
    let payload = Payload::parse(r#"{"attacker_ip":"192.0.2.7","decky":"decky-01","n":3}"#);
    Event::new(topic, "observed", payload.expect("a payload"))
}

/// A directory that goes with its guard.
///
/// # Panics
/// If none can be made.
pub fn temp_dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A loopback port that was free a moment ago. Bind port 0 yourself where you can.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}
