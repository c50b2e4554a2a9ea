//! Answers that are written in other ways than one would write them (RFC 9112 §5).

use bytes::Bytes;
use proptest::prelude::*;
use webhook_delivery::{EndpointVerdict, Verdict};
use webhook_testkit::{Behaviour, Receiver};

use crate::{LONG, attempt, error};

async fn check(text: String) {
    let receiver = Receiver::start(Behaviour::Raw(Bytes::from(text.clone()))).await;
    let got = attempt(&receiver, LONG).await;
    assert_eq!(
        (got.verdict, got.status),
        (Verdict::DELIVERED, Some(200)),
        "{text:?} {got:?}"
    );
}

#[tokio::test]
async fn odd_heads_are_read() {
    for lines in [
        "x-folded: one\r\n two\r\n\tthree",
        "x-spaced : y",
        "x-spaced\t: y",
        "no colon at all",
        ": no name",
        "b\u{e4}d n\u{e4}me: y",
        "x-empty:",
        "x-latin: caf\u{e9}",
    ] {
        check(format!(
            "HTTP/1.1 200 OK\r\n{lines}\r\ncontent-length: 0\r\n\r\n"
        ))
        .await;
        check(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{lines}\r\n\r\n"
        ))
        .await;
    }
    for head in [
        "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    ] {
        check(head.to_owned()).await;
    }
}

#[tokio::test]
async fn many_header_lines_are_read() {
    for count in [101, 500] {
        let lines = "x: y\r\n".repeat(count);
        check(format!(
            "HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n"
        ))
        .await;
    }
}

/// A status that is refused is told whatever the head looks like.
#[tokio::test]
async fn a_refusal_with_an_odd_head_is_a_refusal() {
    let text = "HTTP/1.1 422 No\r\nx-spaced : y\r\nno colon\r\nx: a\r\n b\r\n\r\n";
    let receiver = Receiver::start(Behaviour::Raw(text.into())).await;
    let got = attempt(&receiver, LONG).await;
    assert_eq!(
        (got.verdict, error(&got)),
        (
            Verdict::refused(EndpointVerdict::Answers),
            "non-retryable 422"
        )
    );
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}: [ -~]{0,12}",
        "[a-z]{1,8} {0,2}:[ -~]{0,12}",
        "x: [!-~]{0,8}\r\n [!-~]{1,8}",
        "[a-z ]{1,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever else a head has, its status line decides.
    #[test]
    fn any_mix_of_odd_lines_is_read(lines in proptest::collection::vec(line(), 0..20)) {
        // Framing is not odd but wrong when it is broken.
        prop_assume!(lines.iter().all(|line| !line.contains("content") && !line.contains("transfer")));
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(check(format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n")));
    }
}

/// What follows the status is no HTTP; the status decides all the same.
#[tokio::test]
async fn a_status_line_decides_whatever_its_head_is() {
    let many = "x: y\r\n".repeat(100_000);
    for head in [
        many.as_str(),
        "content-length: abc\r\n\r\n",
        "content-length: \r\n\r\n",
        "content-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        "x: a\0b\r\n\r\n",
        "x: cut off",
    ] {
        for (status, verdict) in [
            (200, Verdict::DELIVERED),
            (403, Verdict::refused(EndpointVerdict::Objects)),
        ] {
            let text = format!("HTTP/1.1 {status} Whatever\r\n{head}");
            let receiver = Receiver::start(Behaviour::Raw(text.into())).await;
            let attempt = attempt(&receiver, LONG).await;
            assert_eq!(
                (attempt.verdict, attempt.status),
                (verdict, Some(status)),
                "{head:?}"
            );
        }
    }
}
