//! TLS, trusted and not.

use webhook_delivery::{DeliveryConfig, Verdict};
use webhook_testkit::{Behaviour, Certificate, Receiver};

use crate::{LONG, attempt_url, client, client_with, error, rerun};

const RETRY: Verdict = Verdict::SILENT;

async fn receiver(certificate: Certificate) -> Receiver {
    Receiver::builder(Behaviour::ok())
        .tls(certificate)
        .start()
        .await
}

fn trusting(receiver: &Receiver) -> DeliveryConfig {
    DeliveryConfig {
        extra_roots: vec![receiver.certificate().unwrap().clone()],
        ..DeliveryConfig::default()
    }
}

#[tokio::test]
async fn an_extra_root_is_trusted() {
    let receiver = receiver(Certificate::Valid).await;
    let client = client_with(trusting(&receiver));
    for _ in 0..3 {
        let attempt = attempt_url(&client, &receiver.url(), LONG).await;
        assert_eq!(attempt.verdict, Verdict::DELIVERED, "{:?}", attempt.error);
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn bad_certificates_are_named() {
    for (certificate, named) in [
        (Certificate::WrongName, "not valid for"),
        (Certificate::Expired, "expired"),
    ] {
        let receiver = receiver(certificate).await;
        let client = client_with(trusting(&receiver));
        let attempt = attempt_url(&client, &receiver.url_of("/T0KEN"), LONG).await;
        assert_eq!(attempt.verdict, RETRY);
        let text = error(&attempt);
        assert!(text.starts_with("tls: ") && text.contains(named), "{text}");
        assert_eq!(receiver.count(), 0);
    }
}

#[tokio::test]
async fn a_stranger_is_not_trusted() {
    let (receiver, other) = (
        receiver(Certificate::Valid).await,
        receiver(Certificate::Valid).await,
    );
    let attempt = attempt_url(&client_with(trusting(&other)), &receiver.url(), LONG).await;
    assert!(
        error(&attempt).starts_with("tls: invalid peer certificate"),
        "{attempt:?}"
    );
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn tls_and_plain_text_do_not_meet() {
    let plain = Receiver::start(Behaviour::ok()).await;
    let other = receiver(Certificate::Valid).await;
    let client = client_with(trusting(&other));
    let url = plain.url().replace("http:", "https:");
    // The receiver takes the handshake for a request that never ends.
    let attempt = attempt_url(&client, &url, crate::SHORT).await;
    assert_eq!((attempt.verdict, attempt.status), (RETRY, None));
    let url = other.url().replace("https:", "http:");
    let attempt = attempt_url(&client, &url, LONG).await;
    assert_eq!(
        (attempt.verdict, attempt.status),
        (RETRY, None),
        "{attempt:?}"
    );
}

const NO_ROOTS: &str = "tls: this machine has no trusted root certificates; install them";

#[tokio::test]
async fn a_machine_without_roots_starts_and_says_so_when_it_matters() {
    let missing = webhook_testkit::temp_dir().path().join("missing");
    let missing = missing.to_str().unwrap().to_owned();
    let environment = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| (name, missing.clone()));
    let test = "tls::extra_roots_are_trusted_whatever_the_platforms_are";
    tokio::task::spawn_blocking(move || rerun(test, &environment))
        .await
        .unwrap();
}

/// Also what [`a_machine_without_roots_starts_and_says_so_when_it_matters`] runs, without any.
#[tokio::test]
async fn extra_roots_are_trusted_whatever_the_platforms_are() {
    let without = std::env::var("SSL_CERT_FILE").is_ok_and(|path| path.ends_with("/missing"));
    let receiver = receiver(Certificate::Valid).await;
    let attempt = attempt_url(&client(), &receiver.url(), LONG).await;
    assert_eq!(attempt.verdict, RETRY);
    let expected = if without { NO_ROOTS } else { "tls: " };
    assert!(error(&attempt).starts_with(expected), "{attempt:?}");
    let trusting = client_with(trusting(&receiver));
    let attempt = attempt_url(&trusting, &receiver.url(), LONG).await;
    assert_eq!(attempt.verdict, Verdict::DELIVERED);
}
