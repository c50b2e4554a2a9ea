//! TLS, trusted and not.

use tokio::io::AsyncWriteExt;
use webhook_delivery::{DeliveryConfig, EndpointVerdict, LocalFault, Verdict};
use webhook_testkit::{Behaviour, Certificate, End, Receiver};

use crate::{LONG, attempt_url, client, client_with, error, rerun, wire};

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
    let text = error(&attempt);
    for part in [
        "tls: the receiver's certificate is not trusted here",
        "intermediate certificates",
        "DECNET_WEBHOOK_CA_FILE",
        "SSL_CERT_FILE",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn an_authoritys_certificate_is_no_servers() {
    let receiver = receiver(Certificate::Authority).await;
    let client = client_with(trusting(&receiver));
    let attempt = attempt_url(&client, &receiver.url(), LONG).await;
    let text = error(&attempt);
    assert!(
        text.starts_with("tls: the receiver uses the certificate of an authority"),
        "{text}"
    );
    assert!(text.contains("DECNET_WEBHOOK_CA_FILE"), "{text}");
    assert_eq!(attempt.verdict, RETRY);
}

/// What answers an https request on a port that speaks something else.
#[tokio::test]
async fn https_onto_a_plain_port_is_told() {
    let trusted = receiver(Certificate::Valid).await;
    for (greeting, told) in [
        (
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
            "tls: the receiver does not answer in TLS: this port speaks plain HTTP",
        ),
        (
            "220 mail.example ESMTP ready\r\n",
            "tls: the receiver does not answer in TLS",
        ),
        (
            "",
            "tls: the receiver closed the connection in the handshake; does this port speak TLS?",
        ),
    ] {
        let server = wire::Server::start(move |mut stream| async move {
            wire::read_some(&mut stream).await;
            stream.write_all(greeting.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            wire::drain(&mut stream).await;
        })
        .await;
        let url = server.url().replace("http:", "https:");
        let attempt = attempt_url(&client_with(trusting(&trusted)), &url, LONG).await;
        assert_eq!((attempt.verdict, attempt.status), (RETRY, None));
        let text = error(&attempt);
        assert!(text.starts_with(told) && text.contains("http://"), "{text}");
    }
}

#[tokio::test]
async fn plain_http_onto_a_tls_port_is_told() {
    let receiver = receiver(Certificate::Valid).await;
    let url = receiver.url().replace("https:", "http:");
    let attempt = attempt_url(&client(), &url, LONG).await;
    assert_eq!((attempt.verdict, attempt.status), (RETRY, None));
    let text = "tls: the receiver speaks TLS on this port; write its URL with https://";
    assert_eq!(error(&attempt), text);
}

/// Servers that answer in plain HTTP what plain HTTP on a TLS port deserves.
#[tokio::test]
async fn a_400_for_plain_http_speaks_of_the_url() {
    for body in [
        "<center>The plain HTTP request was sent to HTTPS port</center>",
        "Client sent an HTTP request to an HTTPS server.\n",
        "You're speaking plain HTTP to an SSL-enabled server port.",
    ] {
        let receiver = Receiver::start(Behaviour::Answer {
            status: 400,
            headers: Vec::new(),
            body: body.into(),
        })
        .await;
        let attempt = attempt_url(&client(), &receiver.url(), LONG).await;
        let verdict = Verdict::refused(EndpointVerdict::Objects);
        assert_eq!((attempt.verdict, attempt.status), (verdict, Some(400)));
        let text = error(&attempt);
        assert!(text.starts_with("non-retryable 400: "), "{text}");
        assert!(text.contains("https://"), "{text}");
    }
}

/// Python's `http.server` behind TLS: no length, and no close_notify at the end.
#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_a_delivery() {
    for head in [
        "HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6 Python/3.12\r\n\r\ntaken",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ntaken",
    ] {
        for end in [End::Abrupt, End::Reset] {
            let receiver = Receiver::builder(Behaviour::RawThen(head.into(), end))
                .tls(Certificate::Valid)
                .start()
                .await;
            let client = client_with(trusting(&receiver));
            let attempt = attempt_url(&client, &receiver.url(), LONG).await;
            assert_eq!(
                (attempt.verdict, attempt.status, attempt.error),
                (Verdict::DELIVERED, Some(200), None),
                "{head} {end:?}"
            );
        }
    }
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
    let (verdict, expected) = if without {
        (Verdict::Ourselves(LocalFault::Roots), NO_ROOTS)
    } else {
        (RETRY, "tls: ")
    };
    assert_eq!(attempt.verdict, verdict);
    assert!(error(&attempt).starts_with(expected), "{attempt:?}");
    let trusting = client_with(trusting(&receiver));
    let attempt = attempt_url(&trusting, &receiver.url(), LONG).await;
    assert_eq!(attempt.verdict, Verdict::DELIVERED);
}
