//! What the socket protocol's readers make of arbitrary bytes. Compiled under the feature `fuzzing`
//! alone, for programs that try them.

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

use crate::{
    feed::incoming::Incoming,
    socket::frame::{Frame, FrameDecoder, Heard},
};

/// Who is listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The broker, to a client.
    Broker,
    /// A client, to its broker.
    Client,
}

/// What was read of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heeded {
    /// Each frame as a line that says how it was understood, and what of its body was kept.
    pub frames: Vec<(String, Bytes)>,
    /// Why the connection could not go on, if it did not end in order.
    pub error: Option<String>,
    /// Most bytes that were set aside at a time.
    pub most_held: usize,
}

/// Reads a connection's bytes, which arrive in these pieces.
pub fn read_frames(side: Side, pieces: &[&[u8]]) -> Heeded {
    match side {
        Side::Broker => read::<Frame>(pieces, |frame| match frame {
            Frame::Hello(name) => (format!("HELLO {name}"), Bytes::new()),
            Frame::Pub(topic, body) => (format!("PUB {topic}"), body),
            Frame::Sub(pattern) => (format!("SUB {pattern}"), Bytes::new()),
            Frame::Unsub(pattern) => (format!("UNSUB {pattern}"), Bytes::new()),
            Frame::Bye => ("BYE".to_owned(), Bytes::new()),
        }),
        Side::Client => read::<Incoming>(pieces, |frame| match frame {
            Incoming::Event(topic, body) => (format!("EVT {topic}"), body),
            Incoming::Unknown(_) => ("passed over".to_owned(), Bytes::new()),
        }),
    }
}

fn read<H: Heard>(pieces: &[&[u8]], told: impl Fn(H) -> (String, Bytes)) -> Heeded {
    let mut decoder = FrameDecoder::<H>::default();
    let mut input = BytesMut::new();
    let mut heeded = Heeded {
        frames: Vec::new(),
        error: None,
        most_held: 0,
    };
    let ends = pieces.iter().map(Some).chain([None]);
    for piece in ends {
        input.extend_from_slice(piece.copied().unwrap_or_default());
        loop {
            let next = match piece {
                Some(_) => decoder.decode(&mut input),
                None => decoder.decode_eof(&mut input),
            };
            heeded.most_held = heeded.most_held.max(input.capacity());
            match next {
                Ok(Some(frame)) => heeded.frames.push(told(frame)),
                Ok(None) => break,
                Err(error) => {
                    heeded.error = Some(error.to_string());
                    return heeded;
                }
            }
        }
    }
    heeded
}
