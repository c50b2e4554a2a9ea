use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::support::{Decnet, Starter, data_dir, decnet, finish, run, stderr, succeeded};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_first_start_leaves_a_key_and_an_admin_token_for_its_owner_alone() {
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    let (key, token) = (
        dir.path().join("jwt.secret"),
        dir.path().join("admin.token"),
    );
    assert_eq!((mode(&key), mode(&token)), (0o600, 0o600));
    assert!(fs::read_to_string(&key).unwrap().trim().len() >= 32);
    let log = decnet.log().all().join("\n");
    assert!(log.contains(token.to_str().unwrap()), "{log}");
    let text = fs::read_to_string(&token).unwrap();
    assert!(!log.contains(text.trim()), "a token is in the log");

    let mut list = decnet_list(dir.path(), decnet.url(), text.trim());
    succeeded(&finish(&mut list).await);
    decnet.log().wait_for("its file is removed").await;
    assert!(!token.exists(), "who used it has it");

    assert!(decnet.terminate().await.success());
    let decnet = Decnet::serve(dir.path()).await;
    assert!(!token.exists(), "a second start makes no further token");
    drop(decnet);
}

fn decnet_list(dir: &Path, url: &str, token: &str) -> tokio::process::Command {
    let elsewhere = dir.join("elsewhere");
    let mut command = decnet(dir, ["subscriptions", "list", "--json"]);
    command
        .env("DECNET_DATA_DIR", elsewhere)
        .env("DECNET_API_URL", url)
        .env("DECNET_TOKEN", token);
    command
}

#[tokio::test]
async fn two_first_starts_at_once_agree_on_the_key() {
    let dir = data_dir();
    let api = Starter::new("api", dir.path()).spawn();
    let serve = Decnet::serve(dir.path()).await;
    let url = api
        .log()
        .find(|line| line.contains("http://").then_some(()))
        .await;
    assert!(url.is_some(), "{:#?}", api.log().all());
    let token = serve.api().await;
    for line in api.log().all() {
        let Some(url) = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
        else {
            continue;
        };
        succeeded(&finish(&mut decnet_list(dir.path(), url, token.token())).await);
    }
}

#[tokio::test]
async fn a_shell_that_can_read_the_data_directory_needs_no_variables() {
    let dir = data_dir();
    let _decnet = Decnet::serve(dir.path()).await;
    let output = run(dir.path(), &["subscriptions", "list", "--json"]).await;
    assert_eq!(succeeded(&output).trim(), "[]");
}

#[tokio::test]
async fn roles_hold_and_a_wrong_token_is_a_sentence() {
    let dir = data_dir();
    let decnet = Decnet::serve(dir.path()).await;
    let made = run(
        dir.path(),
        &["token", "create", "--role", "publisher", "--ttl", "1h"],
    )
    .await;
    let publisher = succeeded(&made);
    let refused = finish(&mut decnet_list(dir.path(), decnet.url(), publisher.trim())).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("Insufficient permissions (403)"),
        "{}",
        stderr(&refused)
    );

    let refused = finish(&mut decnet_list(dir.path(), decnet.url(), "nonsense")).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("Could not validate credentials"),
        "{}",
        stderr(&refused)
    );
}

#[tokio::test]
async fn without_a_key_or_a_server_it_says_what_to_do() {
    let dir = data_dir();
    let output = run(dir.path(), &["token", "create", "--role", "admin"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("start `decnet serve` once"),
        "{}",
        stderr(&output)
    );

    let output = run(dir.path(), &["status"]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("DECNET_TOKEN"), "{text}");
    assert!(text.contains("make at their first start"), "{text}");

    let mut list = decnet_list(dir.path(), "http://127.0.0.1:1", "token");
    let output = finish(&mut list).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("no answer from http://127.0.0.1:1"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn the_first_token_is_awaited_by_later_starts_too() {
    let dir = data_dir();
    let token = dir.path().join("admin.token");
    let mut first = Decnet::serve(dir.path()).await;
    assert!(first.terminate().await.success());
    let text = fs::read_to_string(&token).expect("nobody has used it");
    let second = Decnet::serve(dir.path()).await;
    succeeded(&finish(&mut decnet_list(dir.path(), second.url(), text.trim())).await);
    second.log().wait_for("its file is removed").await;
    assert!(!token.exists());
}

#[tokio::test]
async fn a_bound_token_is_made_listed_and_revoked() {
    let dir = data_dir();
    let _decnet = Decnet::serve(dir.path()).await;
    let create = [
        "token",
        "create",
        "--role",
        "publisher",
        "--name",
        "sensor-7",
        "--topic",
        "attacker.>",
    ];
    let made = run(dir.path(), &create).await;
    let token = succeeded(&made).trim().to_owned();
    let publish = async |topic: &str| {
        let mut command = decnet(dir.path(), ["publish", topic, "{}"]);
        finish(command.env("DECNET_TOKEN", &token)).await
    };
    succeeded(&publish("attacker.observed").await);
    let refused = publish("decky.web-1.state").await;
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(
        said.contains("may publish to attacker.>, not to decky.web-1.state"),
        "{said}"
    );

    let listed = succeeded(&run(dir.path(), &["token", "list"]).await);
    let row = listed
        .lines()
        .find(|line| line.contains("sensor-7"))
        .expect(&listed);
    assert!(
        row.contains("valid") && row.contains("attacker.>"),
        "{listed}"
    );
    let id = row.split_whitespace().next().unwrap();
    assert!(stderr(&made).contains(id), "{}", stderr(&made));
    assert!(
        !listed.contains("decnet-cli"),
        "its own tokens are over at once: {listed}"
    );

    succeeded(&run(dir.path(), &["token", "revoke", &token]).await);
    let refused = publish("attacker.observed").await;
    assert!(stderr(&refused).contains("401"), "{}", stderr(&refused));
    let listed = succeeded(&run(dir.path(), &["token", "list"]).await);
    assert!(listed.contains("revoked"), "{listed}");

    let typo = run(dir.path(), &["token", "revoke", "sensor-7"]).await;
    assert_eq!(typo.status.code(), Some(1));
    let said = stderr(&typo);
    assert!(
        said.contains("\"sensor-7\" is neither a token nor"),
        "{said}"
    );
    let other = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let unknown = run(dir.path(), &["token", "revoke", other]).await;
    assert_eq!(succeeded(&unknown), format!("revoked {other}\n"));
    let said = stderr(&unknown);
    assert!(said.contains("no token with this id was used"), "{said}");
    let again = run(dir.path(), &["token", "revoke", id]).await;
    succeeded(&again);
    assert!(
        !stderr(&again).contains("no token with"),
        "{}",
        stderr(&again)
    );
}

#[tokio::test]
async fn what_no_token_may_say_is_refused() {
    let dir = data_dir();
    for (args, expected) in [
        (&["--role", "admin", "--ttl", "2y"][..], "use 1s to 1y"),
        (
            &["--role", "admin", "--topic", "attacker.>"],
            "add --role publisher",
        ),
        (&["--role", "publisher", "--topic", "a..b"], "empty token"),
        (
            &["--role", "viewer", "--bus-share", "9"],
            "add --role publisher",
        ),
        (
            &["--role", "publisher", "--bus-share", "101"],
            "a whole percentage from 1 to 100",
        ),
    ] {
        let output = run(dir.path(), &[&["token", "create"], args].concat()).await;
        assert!(!output.status.success());
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}
