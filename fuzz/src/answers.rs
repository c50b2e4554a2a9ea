//! Answers of receivers, whatever they are, over a real connection.

use std::{cell::OnceCell, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use webhook_delivery::{
    Attempt, DeliveryClient, DeliveryConfig, EgressPolicy, Endpoint, EndpointVerdict, EventVerdict,
    FailureKind, MAX_ERROR_CHARS, MAX_KEPT_ANSWER_BYTES, PreparedEvent, Verdict,
};
use webhook_model::{EndpointUrl, Event, Secret};

/// No answer is waited for that long: whoever gives it closes the connection behind it.
const LIMIT: Duration = Duration::from_secs(20);
/// How the body of the request ends.
const REQUEST_ENDS: &[u8] = br#""v":1}"#;
/// Bytes at the end of an answer that may be repeated.
const REPEATED: usize = 64;
/// What a status line has at least: `HTTP/1.1 200`.
const SHORTEST: usize = 12;

thread_local! {
    static SIDES: OnceCell<Sides> = const { OnceCell::new() };
}

/// A status line decides, whatever is around it; what is no answer is silence; neither is more than
/// what an attempt may keep, or takes long.
///
/// The first byte is the size of the pieces that it comes in, the second how often its end is
/// repeated, two more a status to begin with, if it is one; the rest is the answer.
pub fn run(data: &[u8]) {
    let &[size, doublings, high, low, ref answer @ ..] = data else {
        return;
    };
    let line = match u16::from_be_bytes([high, low]) {
        status @ 100..1_000 => format!("HTTP/1.1 {status} So\r\n"),
        _ => String::new(),
    };
    let answer = [line.as_bytes(), answer].concat();
    let end = &answer[answer.len().saturating_sub(REPEATED)..];
    let whole = [&answer[..], &end.repeat((1 << (doublings % 13)) - 1)].concat();
    let attempt = SIDES.with(|sides| {
        sides
            .get_or_init(Sides::new)
            .answer(&whole, usize::from(size))
    });
    check(&attempt, &whole);
}

fn check(attempt: &Attempt, answer: &[u8]) {
    assert!(attempt.answer.len() <= MAX_KEPT_ANSWER_BYTES);
    let error = attempt.error.as_deref().unwrap_or_default();
    assert!(error.chars().count() <= MAX_ERROR_CHARS, "{error}");
    assert_ne!(attempt.failure, Some(FailureKind::Timeout), "{attempt:?}");
    if let Verdict::Ourselves(_) = attempt.verdict {
        // This machine ran out of something, which says nothing of the answer.
        return;
    }
    if let Some(status) = final_status(answer) {
        assert_eq!(attempt.status, Some(status), "{attempt:?}");
    }
    let Verdict::Receiver { event, endpoint } = attempt.verdict else {
        unreachable!("it is the receiver's doing");
    };
    let Some(status) = attempt.status else {
        assert!(attempt.failure.is_some(), "{attempt:?}");
        assert_eq!(attempt.verdict, Verdict::SILENT, "{attempt:?}");
        return;
    };
    assert_eq!(attempt.failure, None, "{attempt:?}");
    match status {
        200..=299 => assert_eq!(attempt.verdict, Verdict::DELIVERED),
        429 | 500..=599 => {
            assert!(matches!(event, EventVerdict::NotYet { .. }), "{attempt:?}");
            assert_eq!(error, format!("http {status}"));
        }
        _ => {
            assert_eq!(event, EventVerdict::Refused, "{attempt:?}");
            assert!(
                error.starts_with(&format!("non-retryable {status}")),
                "{error}"
            );
            assert!(!matches!(
                endpoint,
                EndpointVerdict::Takes | EndpointVerdict::Silent
            ));
        }
    }
}

/// The status of an answer that begins with a whole status line (RFC 9112, section 4).
fn final_status(answer: &[u8]) -> Option<u16> {
    let line = &answer[..answer.iter().position(|&byte| byte == b'\n')?];
    let (start, rest) = line.split_at_checked(SHORTEST)?;
    let version = start
        .strip_prefix(b"HTTP/1.1 ")
        .or(start.strip_prefix(b"HTTP/1.0 "))?;
    let status = std::str::from_utf8(version).ok()?;
    let is_number = status.bytes().all(|byte| byte.is_ascii_digit());
    let ends = matches!(rest.first(), None | Some(b' ' | b'\r')) && line.len() < 1_000;
    let status = status.parse().ok().filter(|_| is_number && ends)?;
    (200..1_000).contains(&status).then_some(status)
}

/// One client and one receiver's port.
struct Sides {
    runtime: Runtime,
    listener: TcpListener,
    client: DeliveryClient,
    endpoint: Endpoint,
    event: PreparedEvent,
}

impl Sides {
    fn new() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = runtime
            .block_on(TcpListener::bind(here))
            .expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let client = DeliveryClient::new(DeliveryConfig {
            egress: EgressPolicy::default()
                .allow_cidrs(vec!["127.0.0.1/32".parse().expect("it is a network")]),
            // The next answer is for a connection of its own.
            max_kept_connections: 0,
            ..DeliveryConfig::default()
        });
        let url = EndpointUrl::parse(&format!("http://127.0.0.1:{port}/")).expect("it is a URL");
        let mut endpoint = Endpoint::new(url, Secret::generate());
        endpoint.timeout = Some(LIMIT);
        Self {
            runtime,
            listener,
            client: client.expect("a client"),
            endpoint,
            event: PreparedEvent::new(&Event::test_ping("fuzz")),
        }
    }

    /// What an attempt makes of an answer.
    fn answer(&self, answer: &[u8], size: usize) -> Attempt {
        self.runtime.block_on(async {
            let serve = async {
                loop {
                    if let Ok((connection, _)) = self.listener.accept().await {
                        // Whoever has read enough closes the connection.
                        let _ = give(connection, answer, size).await;
                    }
                }
            };
            tokio::select! {
                attempt = self.client.attempt(&self.endpoint, &self.event) => attempt,
                () = serve => unreachable!("it is served for as long as it is asked"),
            }
        })
    }
}

async fn give(mut connection: TcpStream, answer: &[u8], size: usize) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut request = Vec::new();
    while !request.ends_with(REQUEST_ENDS) && connection.read_buf(&mut request).await? > 0 {}
    let size = if size == 0 { answer.len().max(1) } else { size };
    for piece in answer.chunks(size) {
        connection.write_all(piece).await?;
    }
    connection.shutdown().await?;
    while connection.read_buf(&mut request).await? > 0 {}
    Ok(())
}
