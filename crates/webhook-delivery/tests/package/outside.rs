//! Delivers one event to a receiver that verifies it.

use std::error::Error;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use webhook_delivery::{
    DeliveryClient, DeliveryConfig, EgressPolicy, Endpoint, PreparedEvent, RetryPolicy,
    verify::Verifier,
};
use webhook_model::{EndpointUrl, Event, Payload, Secret, Topic, UtcTime};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = Secret::generate();
    let topic = Topic::parse("attacker.observed")?;
    let event = Event::new(topic, "observed", Payload::parse(r#"{"n":1}"#)?);
    let event = PreparedEvent::new(&event);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = EndpointUrl::parse(&format!("http://{}/", listener.local_addr()?))?;
    let receiver = tokio::spawn(receive(listener, secret.clone(), event.body().len()));

    let client = DeliveryClient::new(DeliveryConfig {
        egress: EgressPolicy::default().allow_private(true),
        ..DeliveryConfig::default()
    })?;
    let endpoint = Endpoint::new(url, secret);
    let round = client
        .deliver(&endpoint, &event, &RetryPolicy::none())
        .await;
    assert!(round.is_delivered(), "{round:?}");
    let verified = receiver.await?;
    println!(
        "delivered and {}",
        if verified { "verified" } else { "not verified" }
    );
    Ok(())
}

/// Reads one request, answers it, and says whether its signatures are right.
async fn receive(listener: TcpListener, secret: Secret, length: usize) -> bool {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut request = Vec::new();
    let head = loop {
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n")
            && request.len() == end + 4 + length
        {
            break end;
        }
        let read = stream.read_buf(&mut request).await.expect("a request");
        assert_ne!(read, 0, "the request ends early");
    };
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    stream.write_all(answer).await.expect("an answer");
    let text = std::str::from_utf8(&request[..head]).expect("a head in ASCII");
    let headers: HeaderMap = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| -> (HeaderName, HeaderValue) {
            (
                name.parse().expect("a name"),
                value.parse().expect("a value"),
            )
        })
        .collect();
    let verifier = Verifier::new(&secret);
    verifier
        .verify(&headers, &request[head + 4..], UtcTime::now())
        .is_ok()
}
