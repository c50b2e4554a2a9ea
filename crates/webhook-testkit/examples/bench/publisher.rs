//! Publishes numbered events over HTTP in batches: as fast as it is answered, or paced.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};
use webhook_model::UtcTime;

use crate::{events, flags::Flags};

/// Between two batches of a paced run.
const TICK: Duration = Duration::from_millis(10);
/// Most events in a batch: the API takes 1,000.
const BATCH: usize = 500;
/// Connections of an unpaced run.
const CONNECTIONS: usize = 2;

/// `publish --api HOST:PORT --token T --run R --count N --rate R` (0 = unpaced) `--seconds T`:
/// stops at the count or the time, whichever is first.
pub(crate) async fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let plan = Arc::new(Plan {
        api: flags.text("api")?.to_owned(),
        token: flags.text("token")?.to_owned(),
        run: flags.parsed("run")?,
        count: flags.parsed("count")?,
        end: Instant::now() + Duration::from_secs(flags.parsed("seconds")?),
        next: AtomicUsize::new(0),
    });
    let rate: f64 = flags.parsed("rate")?;
    let started = UtcTime::now().micros();
    let accepted = if rate > 0.0 {
        plan.paced(rate).await?
    } else {
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let plan = Arc::clone(&plan);
            connections.spawn(async move { plan.unpaced().await.map_err(|e| e.to_string()) });
        }
        let mut accepted = 0;
        while let Some(done) = connections.join_next().await {
            accepted += done??;
        }
        accepted
    };
    let finished = UtcTime::now().micros();
    println!(r#"{{"accepted":{accepted},"started_us":{started},"finished_us":{finished}}}"#);
    Ok(())
}

struct Plan {
    api: String,
    token: String,
    run: u32,
    count: usize,
    end: Instant,
    next: AtomicUsize,
}

impl Plan {
    async fn unpaced(&self) -> Result<usize, Box<dyn Error>> {
        let mut connection = Connection::open(self).await?;
        let mut accepted = 0;
        while Instant::now() < self.end {
            let first = self.next.fetch_add(BATCH, Relaxed);
            let events = first..(first + BATCH).min(self.count);
            if events.is_empty() {
                break;
            }
            accepted += events.len();
            connection.publish(self, events).await?;
        }
        Ok(accepted)
    }

    /// A small batch each tick. Time lost in one is made up in the next, so the rate holds.
    async fn paced(&self, rate: f64) -> Result<usize, Box<dyn Error>> {
        let mut connection = Connection::open(self).await?;
        let started = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        let mut accepted = 0;
        while accepted < self.count && Instant::now() < self.end {
            ticks.tick().await;
            let due = (started.elapsed().as_secs_f64() * rate) as usize;
            let upto = due.min(self.count).min(accepted + BATCH);
            if upto > accepted {
                connection.publish(self, accepted..upto).await?;
                accepted = upto;
            }
        }
        Ok(accepted)
    }
}

/// One kept connection. Hand-written, so that publishing costs the machine little.
struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(plan: &Plan) -> Result<Self, Box<dyn Error>> {
        let socket = TcpStream::connect(&plan.api).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            buffer: Vec::new(),
        })
    }

    async fn publish(
        &mut self,
        plan: &Plan,
        events: std::ops::Range<usize>,
    ) -> Result<(), Box<dyn Error>> {
        let events: Vec<String> = events
            .map(|n| {
                format!(
                    r#"{{"id":"{}","topic":"{}","type":"bench","payload":{}}}"#,
                    events::id(plan.run, n),
                    events::TOPIC,
                    events::payload(plan.run, n)
                )
            })
            .collect();
        let body = format!("[{}]", events.join(","));
        let request = format!(
            "POST /api/v1/events HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            plan.api,
            plan.token,
            body.len()
        );
        self.socket.write_all(request.as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<(), Box<dyn Error>> {
        self.buffer.clear();
        loop {
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err("the API closed the connection".into());
            }
            let text = String::from_utf8_lossy(&self.buffer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length: usize = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                })
                .ok_or("an answer without content-length")?;
            if body.len() < length {
                continue;
            }
            return match head.split(' ').nth(1) {
                Some("202") => Ok(()),
                _ => Err(format!("not accepted: {}", text.trim()).into()),
            };
        }
    }
}
