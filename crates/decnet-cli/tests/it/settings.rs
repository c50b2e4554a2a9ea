use std::net::TcpListener;

use crate::support::{Decnet, data_dir, decnet, finish, run, stderr};

#[tokio::test]
async fn a_wrong_setting_is_named_with_value_and_remedy() {
    let dir = data_dir();
    for (name, value, expected) in [
        (
            "DECNET_API_PORT",
            "http",
            "DECNET_API_PORT=\"http\" is not a port number",
        ),
        (
            "DECNET_WEBHOOK_ALLOW_CIDRS",
            "10.0.0.0/40",
            "\"10.0.0.0/40\" is not a network",
        ),
        ("DECNET_BUS_URL", "nats://n/path", "names no NATS server"),
        ("DECNET_BUS_URL", "unix://run/b", "unix:///path/of/the.sock"),
        (
            "DECNET_BUS_SOCKET",
            "run/b",
            "write all of it, e.g. /run/decnet/bus.sock",
        ),
        (
            "DECNET_DATABASE_URL",
            "oracle://db/x",
            "is not a database URL",
        ),
        (
            "DECNET_JWT_SECRET",
            "short",
            "DECNET_JWT_SECRET has 5 characters",
        ),
        (
            "DECNET_JWT_SECRET_FILE",
            "/none",
            "DECNET_JWT_SECRET_FILE=\"/none\" cannot be read",
        ),
        (
            "DECNET_LOG",
            "a=b=c",
            "DECNET_LOG=\"a=b=c\" is not a log filter",
        ),
    ] {
        let output = finish(decnet(dir.path(), ["serve"]).env(name, value)).await;
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{name}: {text}");
        assert!(text.contains(expected), "{name}: {text}");
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_taken_port_names_its_variable() {
    let dir = data_dir();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(dir.path(), &["serve", "--port", &port]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("DECNET_API_PORT"),
        "{}",
        stderr(&output)
    );

    let addr = format!("127.0.0.1:{port}");
    let output = run(dir.path(), &["webhook", "--metrics-addr", &addr]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("DECNET_METRICS_ADDR"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_server_says_where_everything_is() {
    let dir = data_dir();
    let decnet = Decnet::serve(dir.path()).await;
    let log = decnet.log().all().join("\n");
    let data = dir.path().display();
    for (label, value) in [
        ("data directory", data.to_string()),
        ("database", format!("sqlite://{data}/decnet.db")),
        ("bus", format!("embedded, socket {data}/bus.sock")),
        ("api", decnet.url().to_owned()),
    ] {
        let said = log
            .lines()
            .any(|line| line.trim_start().starts_with(label) && line.trim_end().ends_with(&value));
        assert!(said, "{label} {value}: {log}");
    }
    assert!(!log.contains('\x1b'), "colours went into a pipe: {log}");
}

#[tokio::test]
async fn a_directory_whose_name_steers_a_terminal_is_shown_without() {
    let dir = data_dir();
    let strange = dir.path().join("a\n\u{1b}[31mb");
    let decnet = Decnet::serve(&strange).await;
    let log = decnet.log().all().join("\n");
    let shown = format!("{}/a\u{fffd}\u{fffd}[31mb", dir.path().display());
    assert!(log.contains(&shown), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}

#[tokio::test]
async fn a_second_worker_on_the_same_journal_is_refused() {
    let dir = data_dir();
    let _first = Decnet::webhook(dir.path()).await;
    let output = run(dir.path(), &["webhook", "--metrics-addr", "127.0.0.1:0"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("another worker runs"),
        "{}",
        stderr(&output)
    );
}
