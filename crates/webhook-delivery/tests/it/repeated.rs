//! 408, 421 and 425: not processed on that connection, so another one is asked, once.

use webhook_delivery::{EndpointVerdict, Verdict};
use webhook_testkit::{Behaviour, Receiver};

use crate::{LONG, SECRET, attempt_url, client, error};

#[tokio::test]
async fn a_request_that_was_not_processed_is_repeated_on_a_new_connection() {
    for status in [408, 421, 425] {
        let once = Behaviour::first(1, Behaviour::status(status), Behaviour::ok());
        let receiver = Receiver::builder(Behaviour::ok())
            .secret(SECRET)
            .start()
            .await;
        let client = client();
        // So that there is a kept one.
        attempt_url(&client, &receiver.url(), LONG).await;
        receiver.behave(Behaviour::first(1, Behaviour::ok(), once));
        let attempt = attempt_url(&client, &receiver.url(), LONG).await;
        assert_eq!(
            (attempt.verdict, attempt.status),
            (Verdict::DELIVERED, Some(200)),
            "{status}"
        );
        let got = receiver.received();
        let connections: Vec<_> = got.iter().map(|got| got.connection).collect();
        assert_eq!(connections, [0, 0, 1], "{status}");
        assert_eq!(got[1].event_id(), got[2].event_id());
        assert_eq!(got[1].body, got[2].body);
        assert!(got.iter().all(|got| got.is_verified()));
    }
}

#[tokio::test]
async fn what_comes_then_stands() {
    for status in [408, 421, 425] {
        for second in [status, 500] {
            let then = Behaviour::first(1, Behaviour::status(status), Behaviour::status(second));
            let receiver = Receiver::start(then).await;
            let attempt = attempt_url(&client(), &receiver.url(), LONG).await;
            assert_eq!(attempt.status, Some(second));
            let (verdict, text) = match second {
                500 => (
                    Verdict::not_yet(EndpointVerdict::Answers, None),
                    "http 500".to_owned(),
                ),
                _ => (
                    Verdict::refused(EndpointVerdict::Answers),
                    format!("non-retryable {second}"),
                ),
            };
            assert_eq!((attempt.verdict, error(&attempt)), (verdict, text.as_str()));
            assert_eq!((receiver.count(), receiver.connections()), (2, 2));
        }
    }
}
