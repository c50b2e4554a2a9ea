//! Frames: `VERB[ args]\n`, a u32 big-endian length, and a body. Head and length say where a frame ends;
//! whether its body is the JSON that it should be is not a matter of the frame.

use std::time::Duration;

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

/// What one end of a connection hears.
pub(crate) trait Heard: Sized {
    /// Understands a header line, before the body has come.
    fn line(verb: &str, argument: &str) -> Result<Self, FrameError>;

    /// The frame with its body.
    fn with(self, body: Bytes) -> Self;
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(String),
    Pub(Topic, Bytes),
    Sub(TopicPattern),
    Unsub(TopicPattern),
    Bye,
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
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
    #[error("a frame with a body of {0} bytes did not come within {1:?}")]
    Slow(usize, Duration),
    #[error("the connection ended within a frame")]
    Cut,
    #[error("the connection broke")]
    Broken(#[from] std::io::Error),
}

/// Reads frames.
#[derive(Debug)]
pub(crate) struct FrameDecoder<H> {
    /// A header whose body is still to come.
    header: Option<Header<H>>,
    /// How much of an unfinished header line has been searched for its end.
    searched: usize,
}

#[derive(Debug)]
struct Header<H> {
    frame: H,
    length: usize,
}

impl<H> Default for FrameDecoder<H> {
    fn default() -> Self {
        Self {
            header: None,
            searched: 0,
        }
    }
}

impl<H: Heard> Decoder for FrameDecoder<H> {
    type Item = H;
    type Error = FrameError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<H>, FrameError> {
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
        Ok(Some(header.frame.with(body)))
    }

    fn decode_eof(&mut self, input: &mut BytesMut) -> Result<Option<H>, FrameError> {
        match self.decode(input)? {
            Some(frame) => Ok(Some(frame)),
            None if input.is_empty() && self.header.is_none() => Ok(None),
            None => Err(FrameError::Cut),
        }
    }
}

impl<H> FrameDecoder<H> {
    /// The length of a body of which the header has come, and not all of it.
    pub(crate) fn announced(&self) -> Option<usize> {
        self.header.as_ref().map(|header| header.length)
    }

    /// Whether a header has come and not all of its body.
    pub(crate) fn is_mid_frame(&self) -> bool {
        self.header.is_some()
    }
}

impl<H: Heard> FrameDecoder<H> {
    /// Reads a header line and the length; what is wrong is told before the body has come.
    fn header(&mut self, input: &mut BytesMut) -> Result<Option<Header<H>>, FrameError> {
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

fn parse_line<H: Heard>(line: &[u8]) -> Result<H, FrameError> {
    let line = std::str::from_utf8(line)
        .ok()
        .filter(|line| line.is_ascii());
    let line = line.ok_or(FrameError::NotAscii)?;
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    H::line(verb, argument)
}

impl Heard for Frame {
    fn line(verb: &str, argument: &str) -> Result<Self, FrameError> {
        let needed = |verb| match argument {
            "" => Err(FrameError::NoArgument(verb)),
            argument => Ok(argument),
        };
        match verb {
            "HELLO" => Ok(Self::Hello(shown(needed("HELLO")?))),
            "PUB" => Ok(Self::Pub(Topic::parse(needed("PUB")?)?, Bytes::new())),
            "SUB" => Ok(Self::Sub(TopicPattern::parse(needed("SUB")?)?)),
            "UNSUB" => Ok(Self::Unsub(TopicPattern::parse(needed("UNSUB")?)?)),
            "BYE" if argument.is_empty() => Ok(Self::Bye),
            "BYE" => Err(FrameError::Argument("BYE")),
            _ => Err(FrameError::UnknownVerb(shown(verb))),
        }
    }

    /// With the others than an event, a body says nothing.
    fn with(self, body: Bytes) -> Self {
        match self {
            Self::Pub(topic, _) => Self::Pub(topic, body),
            other => other,
        }
    }
}

/// Whether an event can be made of a body.
pub(super) fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(body).is_ok()
}

pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

/// Writes an event as the broker sends it; false, and nothing is written, if the envelope is too
/// large for a frame.
pub(super) fn write_event(topic: &Topic, envelope: &[u8], output: &mut BytesMut) -> bool {
    write_frame("EVT", topic.as_str(), envelope, output)
}

/// Writes a frame; false, and nothing is written, if the body is too large for one.
pub(crate) fn write_frame(verb: &str, argument: &str, body: &[u8], output: &mut BytesMut) -> bool {
    let Ok(length) = u32::try_from(body.len()) else {
        return false;
    };
    if body.len() > MAX_EVENT_BYTES {
        return false;
    }
    output.reserve(verb.len() + argument.len() + body.len() + 6);
    output.put_slice(verb.as_bytes());
    if !argument.is_empty() {
        output.put_u8(b' ');
        output.put_slice(argument.as_bytes());
    }
    output.put_u8(b'\n');
    output.put_u32(length);
    output.put_slice(body);
    true
}

#[cfg(test)]
mod tests;
