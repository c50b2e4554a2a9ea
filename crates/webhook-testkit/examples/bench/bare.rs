//! What a plain program would do: make a body, sign it, POST it with reqwest, 64 at a time.
//! No bus, no log, no guard, no retries: the ceiling that the pipeline is compared with.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, header::CONTENT_TYPE};
use tokio::task::JoinSet;
use webhook_delivery::{PreparedEvent, sign};
use webhook_model::{Event, EventId, Payload, Secret, Timestamp, Topic, UtcTime};

use crate::{events, flags::Flags};

/// `bare --url U --secret S --run R --seconds T --in-flight N --capacity N`
pub(crate) async fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let client = client()?;
    let url: Arc<str> = flags.text("url")?.into();
    let secret = Secret::parse(flags.text("secret")?)?;
    let run: u32 = flags.parsed("run")?;
    let capacity: usize = flags.parsed("capacity")?;
    let end = Instant::now() + Duration::from_secs(flags.parsed("seconds")?);

    let next = Arc::new(AtomicUsize::new(0));
    let started = UtcTime::now().micros();
    let mut loops = JoinSet::new();
    for _ in 0..flags.parsed::<usize>("in-flight")? {
        let (client, url, secret) = (client.clone(), Arc::clone(&url), secret.clone());
        let next = Arc::clone(&next);
        loops.spawn(async move {
            let mut sent = 0_u64;
            while Instant::now() < end {
                let n = next.fetch_add(1, Relaxed);
                if n >= capacity {
                    break;
                }
                let event = event(run, n);
                let request = client
                    .post(&*url)
                    .headers(sign(&secret, &event, UtcTime::now()))
                    .header(CONTENT_TYPE, "application/json")
                    .body(event.body().clone());
                let answered = request.send().await;
                sent += u64::from(answered.is_ok_and(|answer| answer.status().is_success()));
            }
            sent
        });
    }
    let sent: u64 = loops.join_all().await.into_iter().sum();
    let finished = UtcTime::now().micros();
    println!(
        r#"{{"sent":{sent},"started_us":{started},"finished_us":{finished},"cpu_ticks":{}}}"#,
        own_cpu_ticks()?
    );
    Ok(())
}

fn event(run: u32, n: usize) -> PreparedEvent {
    let event = Event {
        id: EventId::parse(&events::id(run, n)).expect("a valid id"),
        topic: Topic::parse(events::TOPIC).expect("a valid topic"),
        kind: "bench".to_owned(),
        ts: Timestamp::now(),
        payload: Payload::parse(&events::payload(run, n)).expect("an object"),
    };
    PreparedEvent::new(&event)
}

fn client() -> Result<Client, Box<dyn Error>> {
    // Plain HTTP: reqwest still asks for a TLS set-up.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()?)
}

/// User and system time of this process: fields 14 and 15 of proc(5)'s `stat`.
fn own_cpu_ticks() -> Result<u64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no process name in stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}
