//! Receivers of other subscriptions, each of which does something else that none should.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::net::TcpSocket;
use webhook_testkit::{Behaviour, End, Receiver};

use crate::pace;

/// Between two connections that the slow one accepts.
const ACCEPT: Duration = Duration::from_secs(3);

/// One that runs.
pub(crate) struct Hostile {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    _receiver: Option<Receiver>,
}

/// Starts all of them.
pub(crate) async fn start() -> Vec<Hostile> {
    let mut hostile = vec![slow_to_accept()];
    for (name, behaviour) in behaviours() {
        let receiver = Receiver::builder(behaviour).without_bodies().start().await;
        hostile.push(Hostile {
            name,
            url: receiver.url(),
            _receiver: Some(receiver),
        });
    }
    hostile
}

/// What they do once a request is there.
fn behaviours() -> Vec<(&'static str, Behaviour)> {
    let huge_headers = format!("HTTP/1.1 200 OK\r\nX-Huge: {}\r\n\r\n", "h".repeat(4 << 20));
    let garbage = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\x00\xff\xfeHTTP/9 999 ?\r\n\r\n";
    let gone_at_times = AtomicUsize::new(0);
    vec![
        ("hangs", Behaviour::HangBeforeAnswer),
        (
            "drips-headers",
            Behaviour::RawThen("HTTP/1.1 200 OK\r\nX-Slow: ".into(), End::Held),
        ),
        ("huge-body", Behaviour::EndlessChunked),
        ("huge-headers", Behaviour::Raw(huge_headers.into())),
        ("resets", Behaviour::ResetBeforeAnswer),
        ("resets-after-200", Behaviour::ResetMidBody),
        (
            "garbage-after-200",
            Behaviour::Raw(garbage.as_slice().into()),
        ),
        (
            "asks-for-an-hour",
            Behaviour::status_with(503, "retry-after", "3600"),
        ),
        (
            "redirects",
            Behaviour::redirect("http://169.254.169.254/latest/meta-data/"),
        ),
        (
            "gone-at-times",
            Behaviour::decide(
                move |_| match gone_at_times.fetch_add(1, Ordering::Relaxed) % 10 {
                    9 => Behaviour::status(410),
                    _ => Behaviour::ok(),
                },
            ),
        ),
    ]
}

/// Has a queue of one, and takes a connection off it now and then, to drop it.
fn slow_to_accept() -> Hostile {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .unwrap();
    let listener = socket.listen(1).unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut ticks = pace(ACCEPT);
        loop {
            ticks.tick().await;
            let _ = listener.accept().await;
        }
    });
    Hostile {
        name: "slow-to-accept",
        url,
        _receiver: None,
    }
}
