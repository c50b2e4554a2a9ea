//! So much of NATS's protocol as it takes to ask a server something.

use std::{net::Ipv4Addr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// A server that has an answer gives it at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a server greets who connects.
pub(super) async fn greets(port: u16) -> bool {
    let greeting = async {
        let mut stream = connect(port).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        line.starts_with("INFO ").then_some(())
    };
    matches!(timeout(PATIENCE, greeting).await, Ok(Some(())))
}

/// Asks a server that needs no credentials; none if it does not answer.
pub(super) async fn ask(port: u16, subject: &str) -> Option<Value> {
    let answer = async {
        let mut stream = connect(port).await?;
        let request = format!(
            "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer 0\r\n\r\n"
        );
        stream.get_mut().write_all(request.as_bytes()).await.ok()?;
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line.starts_with("MSG ") {
                break;
            }
            if line.starts_with("PING") {
                stream.get_mut().write_all(b"PONG\r\n").await.ok()?;
            }
        }
        let length = line.trim_end().rsplit(' ').next()?.parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        serde_json::from_slice(&body).ok()
    };
    timeout(PATIENCE, answer).await.ok().flatten()
}

async fn connect(port: u16) -> Option<BufReader<TcpStream>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    stream.ok().map(BufReader::new)
}
