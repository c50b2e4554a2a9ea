use bytes::Bytes;
use webhook_model::Topic;

use crate::socket::frame::{FrameError, Heard, shown};

/// What a broker says. The length that follows every header line lets a frame be passed over that is
/// not understood, so a broker that says more than the protocol is not left for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// An event, whatever its body: what is no envelope becomes a dead letter where it was wanted.
    Event(Topic, Bytes),
    /// Something else.
    Unknown(String),
}

impl Heard for Incoming {
    fn line(verb: &str, argument: &str) -> Result<Self, FrameError> {
        Ok(match Topic::parse(argument) {
            Ok(topic) if verb == "EVT" => Self::Event(topic, Bytes::new()),
            _ => Self::Unknown(shown(&format!("{verb} {argument}"))),
        })
    }

    fn with(self, body: Bytes) -> Self {
        match self {
            Self::Event(topic, _) => Self::Event(topic, body),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio_util::codec::Decoder;

    use super::*;
    use crate::socket::frame::FrameDecoder;

    #[test]
    fn strange_frames_are_passed_over_and_strange_bodies_kept() {
        let mut input = BytesMut::from(
            &b"EVT a.b\r\n\0\0\0\x02{}PING\n\0\0\0\0EVT a..b\n\0\0\0\x02{}EVT c\n\0\0\0\x03oh!"[..],
        );
        let mut decoder = FrameDecoder::<Incoming>::default();
        let mut next = || decoder.decode(&mut input).unwrap();
        let event = |topic: &str, body: &'static str| {
            Some(Incoming::Event(Topic::parse(topic).unwrap(), body.into()))
        };
        assert_eq!(next(), event("a.b", "{}"));
        assert_eq!(next(), Some(Incoming::Unknown("PING ".to_owned())));
        assert_eq!(next(), Some(Incoming::Unknown("EVT a..b".to_owned())));
        assert_eq!(next(), event("c", "oh!"));
        assert_eq!(next(), None);
    }
}
