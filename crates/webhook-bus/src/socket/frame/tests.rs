use proptest::prelude::*;

use super::*;

fn frame(line: &str, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [line.as_bytes(), b"\n", &length, body].concat()
}

/// All frames of an input that arrives in pieces, and how it ends.
fn read(pieces: &[&[u8]]) -> (Vec<Frame>, Result<(), FrameError>) {
    let (mut decoder, mut input, mut frames) = (
        FrameDecoder::<Frame>::default(),
        BytesMut::new(),
        Vec::new(),
    );
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    let end = decoder
        .decode_eof(&mut input)
        .map(|frame| assert_eq!(frame, None));
    (frames, end)
}

#[track_caller]
fn refused(input: &[u8], expected: &str) {
    let (frames, end) = read(&[input]);
    assert_eq!(frames, []);
    assert_eq!(end.unwrap_err().to_string(), expected);
}

#[test]
fn every_verb() {
    let topic = Topic::parse("a.b").unwrap();
    let pattern = TopicPattern::parse("a.*").unwrap();
    let input = [
        frame("HELLO sniffer 7", b""),
        frame("PUB a.b\r", b" {\"payload\":{}}"),
        frame("SUB a.*", b"{}"),
        frame("UNSUB a.*\r", b""),
        frame("BYE", b""),
    ]
    .concat();
    let (frames, end) = read(&[&input]);
    end.unwrap();
    assert_eq!(
        frames,
        [
            Frame::Hello("sniffer 7".to_owned()),
            Frame::Pub(topic, Bytes::from_static(b" {\"payload\":{}}")),
            Frame::Sub(pattern.clone()),
            Frame::Unsub(pattern),
            Frame::Bye,
        ]
    );
}

#[test]
fn what_is_malformed_says_why() {
    refused(&frame("NOISE a", b""), r#"unknown verb "NOISE""#);
    refused(&frame("pub a.b", b"{}"), r#"unknown verb "pub""#);
    refused(&frame("EVT a.b", b"{}"), r#"unknown verb "EVT""#);
    refused(&frame("", b""), r#"unknown verb """#);
    refused(&frame("PUB", b"{}"), "PUB lacks its argument");
    refused(&frame("HELLO ", b""), "HELLO lacks its argument");
    refused(&frame("BYE now", b""), "BYE takes no argument");
    refused(
        &frame("PUB a..b", b"{}"),
        r#"topic "a..b" has an empty token"#,
    );
    refused(
        &frame("SUB a.>.b", b""),
        r#"pattern "a.>.b" has `>` before its last token"#,
    );
    refused(&frame("PUB ä", b"{}"), "a header line is not ASCII");
}

#[test]
fn a_body_that_is_no_json_breaks_no_frame() {
    let bodies = [
        &b""[..],
        b"[]",
        b"{\"a\":NaN}",
        b"{",
        b"{} {}",
        b"{\"a\":\"\xff\"}",
    ];
    for body in bodies {
        let input = [frame("PUB a.b", body), frame("SUB a", body)].concat();
        let (frames, end) = read(&[&input]);
        end.unwrap();
        let topic = Topic::parse("a.b").unwrap();
        let expected = [
            Frame::Pub(topic, Bytes::copy_from_slice(body)),
            Frame::Sub(TopicPattern::parse("a").unwrap()),
        ];
        assert_eq!(frames, expected);
        assert_eq!(is_json(body), body == b"[]");
    }
}

#[test]
fn limits_are_exact() {
    let spaces = |count: usize| "x".repeat(count);
    let (frames, end) = read(&[&frame(&format!("HELLO {}\r", spaces(4_090)), b"")]);
    assert_eq!(frames.len(), 1);
    end.unwrap();
    refused(
        &frame(&format!("HELLO {}", spaces(4_091)), b""),
        "a header line is longer than 4096 bytes",
    );
    refused(&[b'x'; 4_098], "a header line is longer than 4096 bytes");

    let body = format!("{{\"a\":\"{}\"}}", spaces(MAX_EVENT_BYTES - 8));
    assert_eq!(body.len(), MAX_EVENT_BYTES);
    let (frames, end) = read(&[&frame("PUB a", body.as_bytes())]);
    assert_eq!(frames.len(), 1);
    end.unwrap();
    // Before any of the body has come.
    let mut announced = b"PUB a\n".to_vec();
    announced.extend_from_slice(&(1_048_577_u32).to_be_bytes());
    refused(
        &announced,
        "a body of 1048577 bytes; at most 1048576 are taken",
    );
}

#[test]
fn half_a_frame_is_none() {
    let whole = frame("PUB a.b", b"{\"a\":1}");
    for length in 1..whole.len() {
        refused(&whole[..length], "the connection ended within a frame");
    }
}

#[test]
fn events_read_back() {
    let mut output = BytesMut::new();
    assert!(write_event(
        &Topic::parse("a.b").unwrap(),
        b"{}",
        &mut output
    ));
    assert_eq!(&output[..], b"EVT a.b\n\0\0\0\x02{}");
    let large = vec![b' '; MAX_EVENT_BYTES + 1];
    assert!(!write_event(
        &Topic::parse("a.b").unwrap(),
        &large,
        &mut output
    ));
    assert_eq!(output.len(), 14);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(cuts in proptest::collection::vec(0_usize..60, 0..8)) {
        let input = [
            frame("HELLO a\r", b""),
            frame("PUB a.b", b"{\"a\":\"\\n\"}"),
            frame("SUB >", b""),
        ]
        .concat();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|it| it.min(input.len())).collect();
        cuts.sort_unstable();
        let (mut pieces, mut from) = (Vec::new(), 0);
        for cut in cuts {
            pieces.push(&input[from..cut]);
            from = cut;
        }
        pieces.push(&input[from..]);
        let (frames, end) = read(&pieces);
        prop_assert_eq!(frames, read(&[&input]).0);
        prop_assert!(end.is_ok());
    }
}
