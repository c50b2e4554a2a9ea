use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use webhook_testkit::free_port;

use crate::support::{Listen, data_dir, decnet, finish, install_tls, run, stderr};

/// A delivery as `vectors`-style independent code would make it.
struct Post {
    id: &'static str,
    body: &'static str,
    secret: &'static str,
}

impl Post {
    async fn to(&self, url: &str) -> u16 {
        install_tls();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client
            .post(url)
            .headers(self.headers())
            .body(self.body)
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    }

    fn headers(&self) -> HeaderMap {
        use webhook_delivery::{PreparedEvent, sign};
        use webhook_model::{EventId, Secret, Topic, UtcTime};
        let topic = Topic::parse("attacker.observed").unwrap();
        let event =
            PreparedEvent::with_body(EventId::parse(self.id).unwrap(), topic, self.body.into());
        let secret = Secret::stored(self.secret.into()).unwrap();
        sign(&secret, &event, UtcTime::now())
    }
}

const BODY: &str =
    r#"{"id":"e1","payload":{"n":1e-05},"topic":"attacker.observed","type":"t","v":1}"#;

#[tokio::test]
async fn both_signatures_are_verified_and_repeats_are_counted() {
    let dir = data_dir();
    let listen = Listen::start(dir.path(), &[]).await;
    let good = Post {
        id: "e1",
        body: BODY,
        secret: Listen::SECRET,
    };
    assert_eq!(good.to(listen.url()).await, 204);
    assert_eq!(good.to(listen.url()).await, 204);
    let forged = Post {
        id: "e2",
        body: BODY,
        secret: "whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldA==",
    };
    assert_eq!(forged.to(listen.url()).await, 401);

    install_tls();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut half = good.headers();
    half.remove("x-decnet-signature");
    let answer = client
        .post(listen.url())
        .headers(half)
        .body(BODY)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401, "one signature of two is not enough");
    let mut other_id = good.headers();
    other_id.insert(
        HeaderName::from_static("x-decnet-event-id"),
        HeaderValue::from_static("e9"),
    );
    let answer = client
        .post(listen.url())
        .headers(other_id)
        .body(BODY)
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.status(),
        401,
        "the id that is shown has to be the one that was signed"
    );

    let rows = listen.wait_for_count(5).await;
    let seen: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["verified"].as_bool().unwrap(),
                row["duplicate"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen[..3],
        [(true, false), (true, true), (false, false)],
        "{rows:#?}"
    );
    assert!(seen[3..].iter().all(|(verified, _)| !verified), "{rows:#?}");
    assert_eq!(rows[0]["event_id"], "e1");
    assert_eq!(rows[0]["topic"], "attacker.observed");
    assert_eq!(rows[0]["body"]["type"], "t");
    let summary = listen.stop().await;
    assert_eq!(
        summary,
        "received 5, verified 2, 1 duplicates, 3 with a bad signature"
    );
}

#[tokio::test]
async fn it_fails_on_request() {
    let dir = data_dir();
    let listen = Listen::start(dir.path(), &["--fail", "503"]).await;
    let post = Post {
        id: "e1",
        body: BODY,
        secret: Listen::SECRET,
    };
    assert_eq!(post.to(listen.url()).await, 503);
    assert_eq!(post.to(listen.url()).await, 503);
    let rows = listen.wait_for_count(2).await;
    assert!(
        rows.iter()
            .all(|row| row["verified"] == true && row["duplicate"] == false)
    );
    listen.stop().await;

    let listen = Listen::start(dir.path(), &["--fail-rate", "0.5"]).await;
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(post.to(listen.url()).await);
    }
    assert!(
        answers.contains(&204) && answers.contains(&500),
        "{answers:?}"
    );
    let duplicates = answers.iter().filter(|status| **status == 204).count() - 1;
    let first_taken = answers.iter().position(|status| *status == 204).unwrap();
    let refused_later = answers[first_taken..]
        .iter()
        .filter(|status| **status == 500)
        .count();
    let rows = listen.wait_for_count(40).await;
    let marked = rows.iter().filter(|row| row["duplicate"] == true).count();
    assert_eq!(
        marked,
        duplicates + refused_later,
        "only after one was taken is another a repeat"
    );
    listen.stop().await;
}

#[tokio::test]
async fn large_bodies_and_other_methods_are_refused() {
    let dir = data_dir();
    let listen = Listen::start(dir.path(), &[]).await;
    install_tls();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(listen.url()).send().await.unwrap().status(), 405);
    let large = client
        .post(listen.url())
        .body(vec![b' '; 2 << 20])
        .send()
        .await;
    // The connection may be closed before all of it is sent.
    assert!(large.is_err() || large.is_ok_and(|answer| answer.status() == 413));
    assert_eq!(listen.rows().len(), 0);
    listen.stop().await;
}

#[tokio::test]
async fn wrong_arguments_say_what_is_right() {
    let dir = data_dir();
    for args in [
        ["--fail", "99"],
        ["--fail-rate", "2"],
        ["--delay", "soon"],
        ["--addr", "here"],
    ] {
        let output = run(dir.path(), &["listen", args[0], args[1]]).await;
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    let port = free_port();
    let addr = format!("127.0.0.1:{port}");
    let _taken = std::net::TcpListener::bind(&addr).unwrap();
    let output = run(dir.path(), &["listen", "--addr", &addr]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("--addr 127.0.0.1:0"),
        "{}",
        stderr(&output)
    );

    let mut command = decnet(dir.path(), ["listen", "--addr", "127.0.0.1:0"]);
    let output = finish(command.env("DECNET_LISTEN_SECRET_FILE", "/does/not/exist")).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("DECNET_LISTEN_SECRET_FILE"),
        "{}",
        stderr(&output)
    );
}
