//! A client of the socket, written from the contract alone: it uses nothing of the crate.

use std::path::Path;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

pub(crate) struct Client {
    pub(crate) stream: BufReader<UnixStream>,
}

/// A frame from the broker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    pub(crate) line: String,
    pub(crate) body: Value,
}

pub(crate) fn envelope(id: &str, kind: &str) -> Value {
    json!({"v": 1, "id": id, "topic": "ignored", "type": kind, "ts": 1524614400.25, "payload": {}})
}

impl Client {
    pub(crate) async fn connect(path: &Path) -> Self {
        Self {
            stream: BufReader::new(UnixStream::connect(path).await.unwrap()),
        }
    }

    pub(crate) async fn send(&mut self, line: &str, body: &[u8]) {
        let mut frame = format!("{line}\n").into_bytes();
        frame.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(body);
        self.raw(&frame).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    pub(crate) async fn publish(&mut self, topic: &str, body: &Value) {
        self.send(&format!("PUB {topic}"), body.to_string().as_bytes())
            .await;
    }

    pub(crate) async fn subscribe(&mut self, pattern: &str) {
        self.send(&format!("SUB {pattern}"), b"").await;
    }

    /// The next frame; none at the end of the connection.
    pub(crate) async fn receive(&mut self) -> Option<Frame> {
        let mut line = Vec::new();
        loop {
            match self.stream.read_u8().await {
                Ok(b'\n') => break,
                Ok(byte) => line.push(byte),
                Err(_) => return None,
            }
        }
        let length = self.stream.read_u32().await.ok()?;
        assert!(line.len() <= 4_096 && length <= 1 << 20);
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Frame {
            line: String::from_utf8(line)
                .unwrap()
                .trim_end_matches('\r')
                .to_owned(),
            body: serde_json::from_slice(&body).unwrap(),
        })
    }

    /// The next event's topic and id.
    pub(crate) async fn event(&mut self) -> (String, String) {
        let frame = self.receive().await.expect("the connection has ended");
        let topic = frame
            .line
            .strip_prefix("EVT ")
            .expect("an EVT frame")
            .to_owned();
        (topic, frame.body["id"].as_str().unwrap().to_owned())
    }
}
