//! Deliveries over real sockets to receivers that misbehave.

mod answers;
mod connections;
mod dns;
mod fallback;
mod guard;
mod http2;
mod kept;
mod lenient;
mod local;
mod moved;
mod network;
mod repeated;
mod status;
mod tls;
mod vectors;
mod wire;

use std::{process::Command, time::Duration};

use webhook_delivery::{
    Attempt, DeliveryClient, DeliveryConfig, EgressPolicy, Endpoint, FailureKind, PreparedEvent,
};
use webhook_model::{EndpointUrl, Secret};
use webhook_testkit::Receiver;

const SECRET: &str = "0123456789abcdef";
/// Long enough for a loaded machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);
/// What must not run out.
const LONG: Duration = Duration::from_secs(10);

fn loopback() -> EgressPolicy {
    EgressPolicy::default().allow_cidrs(vec!["127.0.0.1/32".parse().unwrap()])
}

fn client() -> DeliveryClient {
    client_with(DeliveryConfig::default())
}

/// A client that may also reach loopback.
fn client_with(config: DeliveryConfig) -> DeliveryClient {
    let egress = loopback();
    DeliveryClient::new(DeliveryConfig { egress, ..config }).unwrap()
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint::new(
        EndpointUrl::parse(url).unwrap(),
        Secret::parse(SECRET).unwrap(),
    )
}

fn event() -> PreparedEvent {
    PreparedEvent::new(&webhook_testkit::event("attacker.observed"))
}

/// One attempt at a receiver, under a path and query that no error may show.
async fn attempt(receiver: &Receiver, timeout: Duration) -> Attempt {
    let url = receiver.url_of("/services/T0KEN?key=T0KEN");
    attempt_url(&client(), &url, timeout).await
}

async fn attempt_url(client: &DeliveryClient, url: &str, timeout: Duration) -> Attempt {
    let mut endpoint = endpoint(url);
    endpoint.timeout = Some(timeout);
    let attempt = client.attempt(&endpoint, &event()).await;
    let error = attempt.error.as_deref().unwrap_or_default();
    assert!(
        !error.contains("T0KEN") && !error.contains(SECRET),
        "{error}"
    );
    assert!(
        error.chars().count() <= webhook_delivery::MAX_ERROR_CHARS,
        "{error}"
    );
    assert_eq!(attempt.failure, told_by(error), "{error}");
    // Either there is an answer, or a reason for having none.
    assert_eq!(attempt.status.is_none(), attempt.failure.is_some());
    attempt
}

/// What kind of failure a text tells of; none for none.
fn told_by(error: &str) -> Option<FailureKind> {
    [
        ("refused: ", FailureKind::Refused),
        ("dns: ", FailureKind::Dns),
        ("tls: ", FailureKind::Tls),
        ("time-out ", FailureKind::Timeout),
        ("this machine has no ", FailureKind::Connect),
        ("connection refused", FailureKind::Connect),
        ("connection reset ", FailureKind::Closed),
        ("connection closed ", FailureKind::Closed),
        ("malformed answer: ", FailureKind::Malformed),
    ]
    .into_iter()
    .find_map(|(start, kind)| error.starts_with(start).then_some(kind))
}

fn error(attempt: &Attempt) -> &str {
    attempt.error.as_deref().expect("an error")
}

/// Runs one test of this binary again, in a process with another environment.
fn rerun(test: &str, environment: &[(&str, String)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}"
    );
}
