//! HTTP/1.1 by hand: what a test sends is what the server gets.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Asserts a well-formed problem with this status and detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, detail: &str) -> Value {
        let body = self.json();
        assert_eq!(
            (self.status, body["detail"].as_str()),
            (status, Some(detail)),
            "{body}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(body["type"], "about:blank");
        assert_eq!(body["status"], status);
        assert!(body["title"].is_string());
        body
    }

    /// Asserts a 422 with exactly these fields.
    #[track_caller]
    pub(crate) fn wrong_fields(&self, fields: &[(&str, &str)]) {
        let body = self.json();
        assert_eq!(self.status, 422, "{body}");
        let found: Vec<(&str, &str)> = (body["errors"].as_array().expect("errors").iter())
            .map(|e| (e["field"].as_str().unwrap(), e["detail"].as_str().unwrap()))
            .collect();
        assert_eq!(found, fields);
        let summary = match fields {
            [(field, detail)] => format!("{field}: {detail}"),
            _ => body["detail"].as_str().unwrap().to_owned(),
        };
        self.problem(422, &summary);
    }
}

/// Sends a whole request and reads the whole answer.
pub(crate) async fn exchange(addr: SocketAddr, request: Vec<u8>) -> Reply {
    let stream = TcpStream::connect(addr).await.expect("the server listens");
    let (mut read, mut write) = stream.into_split();
    let writer = tokio::spawn(async move {
        // A server that refuses a body need not read it.
        let _ = write.write_all(&request).await;
        write
    });
    let reply = read_reply(&mut read).await;
    drop(writer.await);
    reply
}

/// Reads one answer of a connection that ends with it, or has a length.
pub(crate) async fn read_reply(stream: &mut (impl AsyncReadExt + Unpin)) -> Reply {
    let mut bytes = Vec::new();
    loop {
        if let Some(reply) = parse(&bytes, false) {
            return reply;
        }
        let mut chunk = [0; 8192];
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
            _ => return parse(&bytes, true).unwrap_or_else(|| panic!("cut off: {bytes:?}")),
        }
    }
}

fn parse(bytes: &[u8], ended: bool) -> Option<Reply> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut reply = Reply {
        status,
        headers,
        body: bytes[end + 4..].to_vec(),
    };
    let length = reply.header("content-length")?.parse::<usize>().ok()?;
    if reply.body.len() < length && !ended {
        return None;
    }
    reply.body.truncate(length);
    Some(reply)
}
