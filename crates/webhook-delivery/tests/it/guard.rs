//! Nothing gets out that should not.

use std::net::TcpListener;

use webhook_delivery::{
    BuildError, DeliveryClient, DeliveryConfig, EgressPolicy, EndpointVerdict, PreparedEvent,
    Verdict,
};
use webhook_model::{Event, EventId, Payload, Topic};
use webhook_testkit::{Behaviour, Receiver};

use crate::{LONG, attempt_url, client, endpoint, error, event};

const REFUSED: Verdict = Verdict::refused(EndpointVerdict::Silent);

fn strict() -> DeliveryClient {
    DeliveryClient::new(DeliveryConfig::default()).unwrap()
}

#[tokio::test]
async fn a_literal_private_address_is_refused_for_good_and_never_connected_to() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let attempt = attempt_url(&strict(), &receiver.url_of("/T0KEN"), LONG).await;
    assert_eq!((attempt.verdict, attempt.status), (REFUSED, None));
    assert_eq!(
        error(&attempt),
        "refused: 127.0.0.1 is a loopback address; to allow it, add 127.0.0.1/32 to \
         DECNET_WEBHOOK_ALLOW_CIDRS or set DECNET_WEBHOOK_ALLOW_PRIVATE=true"
    );
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn only_what_is_listed_passes() {
    let other = TcpListener::bind("127.0.0.2:0").unwrap();
    let url = format!("http://{}/", other.local_addr().unwrap());
    let attempt = attempt_url(&client(), &url, LONG).await;
    assert!(
        error(&attempt).starts_with("refused: 127.0.0.2 "),
        "{attempt:?}"
    );
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err());
}

#[tokio::test]
async fn allow_private_never_means_metadata() {
    let client = DeliveryClient::new(DeliveryConfig {
        egress: EgressPolicy::default().allow_private(true),
        ..DeliveryConfig::default()
    })
    .unwrap();
    let receiver = Receiver::start(Behaviour::ok()).await;
    let allowed = attempt_url(&client, &receiver.url(), LONG).await;
    assert_eq!(allowed.verdict, Verdict::DELIVERED);
    for url in [
        "http://169.254.169.254/",
        "http://metadata.google.internal/",
    ] {
        let refused = attempt_url(&client, url, LONG).await;
        assert_eq!(refused.verdict, REFUSED);
        assert!(
            error(&refused).ends_with("no setting allows it"),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn nothing_of_an_event_or_url_becomes_a_header() {
    assert!(EventId::parse("a\r\nX-Evil: 1").is_err());
    assert!(Topic::parse("a.b\r\nX-Evil: 1").is_err());
    let config = DeliveryConfig {
        user_agent: "a\r\nX-Evil: 1".to_owned(),
        ..DeliveryConfig::default()
    };
    let error = DeliveryClient::new(config).unwrap_err();
    assert!(matches!(error, BuildError::UserAgent(_)));

    let receiver = Receiver::start(Behaviour::ok()).await;
    let payload = Payload::parse(r#"{"note":"\r\nX-Evil: 1"}"#).unwrap();
    let topic = Topic::parse("attacker.observed").unwrap();
    let event = PreparedEvent::new(&Event::new(topic, "\r\nX-Evil: 1", payload));
    let url = receiver.url_of("/a\r\nX-Evil: 1\r\n%0d%0aX-Evil: 2");
    let attempt = client().attempt(&endpoint(&url), &event).await;
    assert_eq!(attempt.verdict, Verdict::DELIVERED);
    let got = &receiver.received()[0];
    assert_eq!(got.header("x-evil"), None);
    assert_eq!(got.path, "/aX-Evil:%201%0d%0aX-Evil:%202");
}

#[tokio::test]
async fn an_endpoints_headers_are_sent_and_ours_stay_ours() {
    let receiver = Receiver::builder(Behaviour::ok())
        .secret(crate::SECRET)
        .start()
        .await;
    let mut endpoint = endpoint(&receiver.url());
    endpoint.headers = [
        ("authorization", "Bearer x"),
        ("x-decnet-signature", "sha256=00"),
        ("webhook-id", "other"),
        ("host", "other.example"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("user-agent", "other"),
    ]
    .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
    .into();
    assert!(!format!("{endpoint:?}").contains("Bearer"));
    let attempt = client().attempt(&endpoint, &event()).await;
    assert_eq!(attempt.verdict, Verdict::DELIVERED);
    let got = &receiver.received()[0];
    assert!(got.is_verified());
    assert_eq!(got.header("authorization"), Some("Bearer x"));
    assert_eq!(
        got.header("host"),
        Some(receiver.addr().to_string().as_str())
    );
    let twice = |name| got.headers.iter().filter(|(n, _)| n == name).count();
    assert_eq!((twice("x-decnet-signature"), twice("user-agent")), (1, 1));
    assert_eq!(got.header("transfer-encoding"), None);
}
