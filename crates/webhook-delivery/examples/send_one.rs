//! Sends one signed event and says what became of it:
//!
//! ```text
//! cargo run -p webhook-delivery --example send_one -- https://hooks.example/in 0123456789abcdef
//! cargo run -p webhook-delivery --example send_one -- http://127.0.0.1:9000/ 0123456789abcdef 127.0.0.1/32
//! ```

use std::{error::Error, process::ExitCode};

use webhook_delivery::{
    DeliveryClient, DeliveryConfig, EgressPolicy, Endpoint, PreparedEvent, RetryPolicy,
};
use webhook_model::{EndpointUrl, Event, Payload, Secret, Topic};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(secret)) = (args.next(), args.next()) else {
        eprintln!("usage: send_one URL SECRET [ALLOWED_NETWORK…]");
        return Ok(ExitCode::from(2));
    };
    let allowed: Result<_, _> = args.map(|network| network.parse()).collect();

    let client = DeliveryClient::new(DeliveryConfig {
        egress: EgressPolicy::default().allow_cidrs(allowed?),
        ..DeliveryConfig::default()
    })?;
    let endpoint = Endpoint::new(EndpointUrl::parse(&url)?, Secret::parse(&secret)?);
    let payload = Payload::parse(r#"{"message":"hello"}"#)?;
    let event = Event::new(Topic::parse("test.ping")?, "test", payload);

    let round = client
        .deliver(
            &endpoint,
            &PreparedEvent::new(&event),
            &RetryPolicy::default(),
        )
        .await;
    for attempt in &round.attempts {
        let what = attempt.error.as_deref().unwrap_or("delivered");
        println!("{} in {:?}: {what}", attempt.at, attempt.duration);
    }
    Ok(if round.is_delivered() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
