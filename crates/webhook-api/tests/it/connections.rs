//! Clients that hold connections, do not read, or speak no HTTP.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use webhook_api::ConnectionLimits;

use crate::{
    client::{Reply, exchange, read_reply},
    server::Server,
};

const LIMITS: ConnectionLimits = ConnectionLimits {
    total: 16,
    per_address: 12,
    probes: 16,
};
/// Clients that ask and never read.
const DEAF: u64 = 40;
/// What a client waits at most; a loaded machine takes its time.
const PROMPT: Duration = Duration::from_secs(5);

async fn small() -> Server {
    Server::configured(|config| config.connections = LIMITS).await
}

async fn connected(server: &Server, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn asked(server: &Server, path: &str) -> Reply {
    timeout(PROMPT, server.send("GET", path, None))
        .await
        .expect("answered")
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_connections_give_way() {
    let server = small().await;
    let mut kept = Vec::new();
    for _ in 0..100 {
        let mut stream = connected(&server, "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").await;
        assert_eq!(read_reply(&mut stream).await.status, 200);
        kept.push(stream);
        // Nor do those that never ask.
        kept.push(TcpStream::connect(server.addr).await.unwrap());
    }
    assert_eq!(asked(&server, "/api/v1/status").await.status, 200);
    let counts = server.stats.connections();
    assert!(counts.open <= LIMITS.total, "{counts:?}");
    assert!(counts.gave_way >= 180 && counts.refused == 0, "{counts:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_give_way_and_probes_are_answered() {
    let server = small().await;
    let pipelined = "GET /openapi.json HTTP/1.1\r\nHost: test\r\n\r\n".repeat(120);
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        // Not all of it may be taken.
        let _ = timeout(PROMPT, stream.write_all(pipelined.as_bytes())).await;
        deaf.push(stream);
    }
    // All of them have come through the door.
    timeout(PROMPT, async {
        loop {
            let counts = server.stats.connections();
            if counts.admitted + counts.refused >= DEAF {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("counted");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(asked(&server, path).await.status, 200, "{path}");
    }
    // Whoever comes back soon gets a place.
    let begun = Instant::now();
    loop {
        let reply = asked(&server, "/api/v1/status").await;
        if reply.status == 200 {
            break;
        }
        reply.problem(503, "Too many connections; try again later");
        assert!(begun.elapsed() < PROMPT, "nobody gave way");
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_answered_with_a_problem() {
    let server = Server::start().await;
    let unreadable =
        "The request cannot be read; is all of its URL percent-encoded, e.g. > as %3E?";
    let ask = |request: String| exchange(server.addr, request.into_bytes());
    let get = "GET /api/v1/deliveries?topic=attacker.> HTTP/1.1\r\nHost: test\r\n\r\n";
    for request in ["GARBAGE\r\n\r\n", get, "GET / HTTP/9.9\r\n\r\n"] {
        ask(request.to_owned()).await.problem(400, unreadable);
    }
    let large = format!("GET / HTTP/1.1\r\nX-Large: {}\r\n\r\n", "x".repeat(200_000));
    ask(large)
        .await
        .problem(431, "The request's headers are too large");

    // Also on a kept connection, after answers of ours.
    let mut kept = connected(&server, "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(read_reply(&mut kept).await.status, 200);
    kept.write_all(get.as_bytes()).await.unwrap();
    read_reply(&mut kept).await.problem(400, unreadable);

    let mut slow = connected(&server, "GET /healthz HTTP/1.1\r\nHost").await;
    let reply = timeout(Duration::from_secs(20), read_reply(&mut slow)).await;
    reply
        .expect("cut off")
        .problem(408, "The request did not arrive in time");
    server.stop().await;
}
