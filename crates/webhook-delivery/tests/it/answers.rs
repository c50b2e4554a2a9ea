//! What answers mean, whatever their bodies do.

use std::time::Duration;

use bytes::Bytes;
use webhook_delivery::{
    EndpointVerdict, MAX_KEPT_ANSWER_BYTES, MAX_RETRY_AFTER, Outcome, RetryPolicy, Verdict,
};
use webhook_testkit::{Behaviour, Receiver};

use crate::{LONG, SECRET, attempt, client, endpoint, error, event};

fn quick() -> RetryPolicy {
    RetryPolicy::try_new([Duration::from_millis(1); 3], 0.0).unwrap()
}

#[tokio::test]
async fn a_delivery_carries_what_the_contract_says() {
    let receiver = Receiver::builder(Behaviour::ok())
        .secret(SECRET)
        .start()
        .await;
    let event = event();
    let round = client()
        .deliver(&endpoint(&receiver.url()), &event, &quick())
        .await;
    assert!(round.is_delivered());
    let attempt = &round.attempts[0];
    assert_eq!(
        (attempt.status, attempt.error.as_deref()),
        (Some(200), None)
    );
    assert_eq!(attempt.answer, "received");

    let got = &receiver.received()[0];
    assert!(got.is_verified());
    assert_eq!(got.body, event.body());
    assert_eq!(got.header("content-type"), Some("application/json"));
    let agent = format!("decnet-webhook/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(got.header("user-agent"), Some(agent.as_str()));
    assert_eq!(got.topic(), Some("attacker.observed"));
    let seconds = attempt.at.unix_seconds().to_string();
    assert_eq!(got.header("webhook-timestamp"), Some(seconds.as_str()));
    assert_eq!(got.header("accept-encoding"), None);
}

/// Headers without end are read up to a bound; the status line decides all the same.
#[tokio::test]
async fn a_head_is_read_up_to_64_kib() {
    for (kib, answer) in [(32, "received"), (128, "")] {
        let long = "h".repeat(kib << 10);
        let text =
            format!("HTTP/1.1 200 OK\r\nX-Long: {long}\r\nContent-Length: 8\r\n\r\nreceived");
        let receiver = Receiver::start(Behaviour::Raw(text.into())).await;
        let attempt = attempt(&receiver, LONG).await;
        assert_eq!(
            (attempt.status, attempt.answer.as_ref()),
            (Some(200), answer.as_bytes())
        );
    }
}

#[tokio::test]
async fn every_attempt_carries_one_id_and_one_body() {
    let failing = Behaviour::first(2, Behaviour::status(503), Behaviour::status(204));
    let receiver = Receiver::builder(failing).secret(SECRET).start().await;
    let round = client()
        .deliver(&endpoint(&receiver.url()), &event(), &quick())
        .await;
    assert_eq!(round.outcome, Outcome::Delivered);
    let statuses: Vec<_> = round.attempts.iter().map(|a| a.status).collect();
    assert_eq!(statuses, [Some(503), Some(503), Some(204)]);
    assert_eq!(round.attempts[0].error.as_deref(), Some("http 503"));
    let got = receiver.received();
    assert!(got.iter().all(|g| g.is_verified() && g.body == got[0].body));
    assert!(got.iter().all(|g| g.event_id() == got[0].event_id()));
}

#[tokio::test]
async fn statuses_end_a_round_as_they_should() {
    for (status, outcome, error) in [
        (404, Outcome::Final, "non-retryable 404"),
        (301, Outcome::Final, "non-retryable 301"),
        (410, Outcome::Gone, "non-retryable 410"),
        (429, Outcome::Exhausted, "http 429"),
        (599, Outcome::Exhausted, "http 599"),
    ] {
        let receiver = Receiver::start(Behaviour::status(status)).await;
        let round = client()
            .deliver(&endpoint(&receiver.url()), &event(), &quick())
            .await;
        assert_eq!(round.outcome, outcome, "{status}");
        let last = round.attempts.last().unwrap();
        assert_eq!(last.error.as_deref(), Some(error));
        let attempts = if outcome == Outcome::Exhausted { 4 } else { 1 };
        assert_eq!(receiver.count(), attempts);
    }
}

#[tokio::test]
async fn retry_after_pauses_and_is_capped() {
    for (status, value, until) in [
        (429, "2", Duration::from_secs(2)),
        (503, "99999", MAX_RETRY_AFTER),
        (503, "Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
    ] {
        let limited = Behaviour::status_with(status, "Retry-After", value);
        let receiver = Receiver::start(limited).await;
        let round = client()
            .deliver(&endpoint(&receiver.url()), &event(), &quick())
            .await;
        assert_eq!(round.outcome, Outcome::Paused { until });
        assert_eq!(receiver.count(), 1);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start(Behaviour::ok()).await;
    let receiver = Receiver::start(Behaviour::redirect(&elsewhere.url())).await;
    let attempt = attempt(&receiver, LONG).await;
    assert_eq!(
        (attempt.verdict, error(&attempt)),
        (
            Verdict::refused(EndpointVerdict::Objects),
            "non-retryable 302"
        )
    );
    assert_eq!((receiver.count(), elsewhere.count()), (1, 0));
}

#[tokio::test]
async fn an_endless_answer_counts_by_its_status_and_is_left() {
    for endless in [Behaviour::EndlessContentLength, Behaviour::EndlessChunked] {
        let receiver = Receiver::start(endless).await;
        for connections in 1..=2 {
            let attempt = attempt(&receiver, LONG).await;
            assert_eq!(attempt.verdict, Verdict::DELIVERED, "{:?}", attempt.error);
            assert!(attempt.duration < LONG);
            assert_eq!(attempt.answer.len(), MAX_KEPT_ANSWER_BYTES);
            assert_eq!(receiver.connections(), connections);
        }
    }
}

#[tokio::test]
async fn answers_are_kept_as_they_came() {
    let body = Bytes::from_static(b"\0\xff\xfe not text \x1f");
    let receiver = Receiver::start(Behaviour::Answer {
        status: 200,
        headers: vec![("content-encoding".to_owned(), "gzip".to_owned())],
        body: body.clone(),
    })
    .await;
    let attempt = attempt(&receiver, LONG).await;
    assert_eq!(
        (attempt.verdict, attempt.answer),
        (Verdict::DELIVERED, body)
    );
}
