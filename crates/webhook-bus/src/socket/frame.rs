//! Frames: `VERB[ args]\n`, a u32 big-endian length, and a JSON object or nothing.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde_json::value::RawValue;
use tokio_util::codec::Decoder;
use webhook_model::{MAX_EVENT_BYTES, PatternError, Topic, TopicError, TopicPattern};

/// Longest header line, without its end.
const MAX_LINE_BYTES: usize = 4_096;
/// What is set aside for a body before it arrives: its announced length is no reason to believe it.
const RESERVED_BYTES: usize = 64 << 10;
/// How a name or verb that makes no sense is shown.
const SHOWN_CHARS: usize = 80;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Hello(String),
    Pub(Topic, Bytes),
    Sub(TopicPattern),
    Unsub(TopicPattern),
    Bye,
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a header line is longer than {MAX_LINE_BYTES} bytes")]
    LineTooLong,
    #[error("a header line is not ASCII")]
    NotAscii,
    #[error("unknown verb {0:?}")]
    UnknownVerb(String),
    #[error("{0} lacks its argument")]
    NoArgument(&'static str),
    #[error("{0} takes no argument")]
    Argument(&'static str),
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("a body of {0} bytes; at most {MAX_EVENT_BYTES} are taken")]
    BodyTooLong(u32),
    #[error("a body that is no JSON object")]
    NoObject,
    #[error("the connection ended within a frame")]
    Cut,
    #[error("the connection broke")]
    Broken(#[from] std::io::Error),
}

/// Reads frames.
#[derive(Debug, Default)]
pub(super) struct FrameDecoder {
    /// A header whose body is still to come.
    header: Option<Header>,
    /// How much of an unfinished header line has been searched for its end.
    searched: usize,
}

#[derive(Debug)]
struct Header {
    frame: Frame,
    length: usize,
}

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let header = match self.header.take() {
            Some(header) => header,
            None => match self.header(input)? {
                Some(header) => header,
                None => return Ok(None),
            },
        };
        if input.len() < header.length {
            let missing = header.length - input.len();
            input.reserve(missing.min(RESERVED_BYTES));
            self.header = Some(header);
            return Ok(None);
        }
        let body = input.split_to(header.length).freeze();
        header.frame.with(body).map(Some)
    }

    fn decode_eof(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        match self.decode(input)? {
            Some(frame) => Ok(Some(frame)),
            None if input.is_empty() && self.header.is_none() => Ok(None),
            None => Err(FrameError::Cut),
        }
    }
}

impl FrameDecoder {
    /// Reads a header line and the length; what is wrong is told before the body has come.
    fn header(&mut self, input: &mut BytesMut) -> Result<Option<Header>, FrameError> {
        let end = input[self.searched..]
            .iter()
            .position(|&byte| byte == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            // One more for a `\r` that may follow.
            if input.len() > MAX_LINE_BYTES + 1 {
                return Err(FrameError::LineTooLong);
            }
            self.searched = input.len();
            return Ok(None);
        };
        let line = &input[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_LINE_BYTES {
            return Err(FrameError::LineTooLong);
        }
        let frame = parse_line(line)?;
        let Some(length) = input.get(end + 1..end + 5) else {
            self.searched = end;
            return Ok(None);
        };
        let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
        if length as usize > MAX_EVENT_BYTES {
            return Err(FrameError::BodyTooLong(length));
        }
        input.advance(end + 5);
        self.searched = 0;
        Ok(Some(Header {
            frame,
            length: length as usize,
        }))
    }
}

fn parse_line(line: &[u8]) -> Result<Frame, FrameError> {
    let line = std::str::from_utf8(line)
        .ok()
        .filter(|line| line.is_ascii());
    let line = line.ok_or(FrameError::NotAscii)?;
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let needed = |verb| match argument {
        "" => Err(FrameError::NoArgument(verb)),
        argument => Ok(argument),
    };
    match verb {
        "HELLO" => Ok(Frame::Hello(shown(needed("HELLO")?))),
        "PUB" => Ok(Frame::Pub(Topic::parse(needed("PUB")?)?, Bytes::new())),
        "SUB" => Ok(Frame::Sub(TopicPattern::parse(needed("SUB")?)?)),
        "UNSUB" => Ok(Frame::Unsub(TopicPattern::parse(needed("UNSUB")?)?)),
        "BYE" if argument.is_empty() => Ok(Frame::Bye),
        "BYE" => Err(FrameError::Argument("BYE")),
        _ => Err(FrameError::UnknownVerb(shown(verb))),
    }
}

impl Frame {
    /// The frame with its body. An event needs one; with the others it says nothing.
    fn with(self, body: Bytes) -> Result<Self, FrameError> {
        match self {
            Self::Pub(topic, _) if is_object(&body) => Ok(Self::Pub(topic, body)),
            Self::Pub(..) => Err(FrameError::NoObject),
            _ if !body.is_empty() && !is_object(&body) => Err(FrameError::NoObject),
            other => Ok(other),
        }
    }
}

fn is_object(body: &[u8]) -> bool {
    let raw: Result<&RawValue, _> = serde_json::from_slice(body);
    raw.is_ok_and(|raw| raw.get().starts_with('{'))
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

/// Writes an event; false, and nothing is written, if the envelope is too large for a frame.
pub(super) fn write_event(topic: &Topic, envelope: &[u8], output: &mut BytesMut) -> bool {
    let Ok(length) = u32::try_from(envelope.len()) else {
        return false;
    };
    if envelope.len() > MAX_EVENT_BYTES {
        return false;
    }
    output.reserve(topic.as_str().len() + envelope.len() + 9);
    output.put_slice(b"EVT ");
    output.put_slice(topic.as_str().as_bytes());
    output.put_u8(b'\n');
    output.put_u32(length);
    output.put_slice(envelope);
    true
}

#[cfg(test)]
mod tests;
