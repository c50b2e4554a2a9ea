//! Frames of the bus's socket, as a broker and as a client reads them.

use webhook_bus::fuzzing::{Heeded, Side, read_frames};

use crate::patterns::{is_pattern, is_topic};

/// Longest header line and body, and what may be set aside for a body before it comes.
const MAX_LINE: usize = 4_096;
const MAX_BODY: usize = 1 << 20;
const RESERVED: usize = 64 << 10;

/// A reader understands what a simpler one does, in whatever pieces it comes, and believes no length.
///
/// The first byte is the size of the pieces and the side that reads; the rest is what comes.
pub fn run(data: &[u8]) {
    let (size, input) = data
        .split_first()
        .map_or((0, data), |(&size, rest)| (size, rest));
    for side in [Side::Broker, Side::Client] {
        let whole = read_frames(side, &[input]);
        let expected = expected(side, input);
        assert_eq!(
            (&whole.frames, whole.error.is_none()),
            (&expected.0, expected.1)
        );
        let pieces: Vec<&[u8]> = input.chunks(usize::from(size).max(1)).collect();
        let cut = read_frames(side, &pieces);
        assert_eq!(
            (&cut.frames, cut.error.is_none()),
            (&expected.0, expected.1)
        );
        for Heeded { most_held, .. } in [whole, cut] {
            assert!(
                most_held <= 4 * (input.len() + RESERVED),
                "{most_held} bytes held"
            );
        }
    }
}

type Frames = Vec<(String, bytes::Bytes)>;

/// The frames of an input, and whether it ends in order.
fn expected(side: Side, mut input: &[u8]) -> (Frames, bool) {
    let mut frames = Vec::new();
    while !input.is_empty() {
        let Some((head, body, rest)) = cut(side, input) else {
            return (frames, false);
        };
        let keeps_body = head.starts_with("PUB ") || head.starts_with("EVT ");
        let body = if keeps_body { body } else { &[] };
        frames.push((head, bytes::Bytes::copy_from_slice(body)));
        input = rest;
    }
    (frames, true)
}

/// The first frame, and what follows it.
fn cut(side: Side, input: &[u8]) -> Option<(String, &[u8], &[u8])> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    let (line, rest) = (&input[..end], &input[end + 1..]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_LINE || !line.is_ascii() {
        return None;
    }
    let head = understood(side, std::str::from_utf8(line).ok()?)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > MAX_BODY {
        return None;
    }
    let (body, rest) = rest.split_at_checked(length)?;
    Some((head, body, rest))
}

fn understood(side: Side, line: &str) -> Option<String> {
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    match (side, verb) {
        (Side::Client, "EVT") if is_topic(argument) => Some(line.to_owned()),
        (Side::Client, _) => Some("passed over".to_owned()),
        (Side::Broker, "HELLO") if !argument.is_empty() => {
            let shown: String = argument.chars().take(80).collect();
            Some(format!("HELLO {shown}"))
        }
        (Side::Broker, "PUB") if is_topic(argument) => Some(line.to_owned()),
        (Side::Broker, "SUB" | "UNSUB") if is_pattern(argument) => Some(line.to_owned()),
        (Side::Broker, "BYE") if argument.is_empty() => Some("BYE".to_owned()),
        (Side::Broker, _) => None,
    }
}
