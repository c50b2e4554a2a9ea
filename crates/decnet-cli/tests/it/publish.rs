use std::{collections::HashSet, fs, process::Stdio};

use serde_json::Value;

use crate::support::{
    Decnet, Lines, Listen, Starter, data_dir, decnet, finish, run, stderr, stdout, succeeded,
};

#[tokio::test]
async fn one_event_from_an_argument_or_a_pipe() {
    let dir = data_dir();
    let decnet_process = Decnet::serve(dir.path()).await;
    let listen = Listen::start(dir.path(), &[]).await;
    let api = decnet_process.api().await;
    api.subscribe("all", listen.url(), Listen::SECRET, &["attacker.>"])
        .await;

    let big = r#"{"n":1180591620717411303424,"f":1e-05}"#;
    let output = run(
        dir.path(),
        &["publish", "attacker.observed", big, "--type", "seen"],
    )
    .await;
    let id = succeeded(&output).trim().to_owned();
    let row = listen.wait_for(|row| row["event_id"] == id.as_str()).await;
    assert_eq!(row["topic"], "attacker.observed");
    assert_eq!(row["body"]["type"], "seen");
    assert!(
        listen
            .lines()
            .iter()
            .any(|line| line.contains(r#""payload":{"f":1e-05,"n":1180591620717411303424}"#))
    );

    let script = format!(
        "echo '{{\"from\":\"a pipe\"}}' | {} publish attacker.piped -",
        env!("CARGO_BIN_EXE_decnet")
    );
    let mut shell = tokio::process::Command::new("sh");
    shell
        .args(["-c", &script])
        .env("DECNET_DATA_DIR", dir.path());
    succeeded(&finish(&mut shell).await);
    let row = listen
        .wait_for(|row| row["topic"] == "attacker.piped")
        .await;
    assert_eq!(row["body"]["payload"]["from"], "a pipe");

    let empty = succeeded(&run(dir.path(), &["publish", "attacker.empty"]).await);
    let row = listen.wait_for(|row| row["event_id"] == empty.trim()).await;
    assert_eq!(row["body"]["payload"], serde_json::json!({}));
}

#[tokio::test]
async fn what_makes_no_event_is_refused_in_words() {
    let dir = data_dir();
    let _decnet = Decnet::serve(dir.path()).await;
    for (args, code, words) in [
        (vec!["attacker.>", "{}"], 1, "may not stand in a topic"),
        (
            vec!["attacker.x", "[1]"],
            1,
            "the payload has to be a JSON object",
        ),
        (
            vec!["attacker.x", "{"],
            1,
            "the payload has to be a JSON object",
        ),
        (vec!["system.webhook.health", "{}"], 1, "403"),
        (vec![], 2, "required"),
        (
            vec!["a.b", "--jsonl", "f", "--topic", "t"],
            2,
            "cannot be used with",
        ),
        (vec!["--jsonl", "f"], 2, "--topic"),
        (vec!["--jsonl", "f", "--topic", "a.{f"], 2, "without its"),
        (
            vec!["--jsonl", "/does/not/exist", "--topic", "a"],
            1,
            "/does/not/exist",
        ),
    ] {
        let output = run(dir.path(), &[&["publish"], &args[..]].concat()).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(words),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[tokio::test]
async fn refused_lines_are_reported_by_number_and_the_others_go_through() {
    let dir = data_dir();
    let decnet_process = Decnet::serve(dir.path()).await;
    let listen = Listen::start(dir.path(), &[]).await;
    let api = decnet_process.api().await;
    api.subscribe("all", listen.url(), Listen::SECRET, &["attacker.>"])
        .await;

    let file = dir.path().join("events.jsonl");
    let mut lines: Vec<String> = (1..=50)
        .map(|n| format!(r#"{{"eventid":"cowrie.line.{n}"}}"#))
        .collect();
    lines[6] = r#"{"other":1}"#.into();
    lines[12] = "not json".into();
    lines[19] = String::new();
    lines[29] = r#"{"eventid":["a","list"]}"#.into();
    fs::write(&file, lines.join("\n")).unwrap();
    let path = file.to_str().unwrap();
    let template = "attacker.{eventid}";
    let output = run(
        dir.path(),
        &["publish", "--jsonl", path, "--topic", template, "--ids"],
    )
    .await;
    assert_eq!(output.status.code(), Some(1), "refused lines are a failure");
    let said = stderr(&output);
    for expected in [
        "line 7: field \"eventid\" is missing",
        "line 13: is no JSON object",
        "line 30: field \"eventid\" is a list",
        "published 46, 3 refused in",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let ids: HashSet<String> = stdout(&output).lines().map(str::to_owned).collect();
    assert_eq!(ids.len(), 46);
    let rows = listen.wait_for_count(46).await;
    let arrived: HashSet<String> = rows
        .iter()
        .map(|row| row["event_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(arrived, ids);
    assert!(
        rows.iter()
            .any(|row| row["topic"] == "attacker.cowrie_line_50")
    );
    assert!(rows.iter().all(|row| row["verified"] == true));
}

#[tokio::test]
async fn lines_that_only_the_server_refuses_are_isolated() {
    let dir = data_dir();
    let _decnet = Decnet::serve(dir.path()).await;
    let file = dir.path().join("events.jsonl");
    let mut lines = vec![r#"{"t":"attacker.ok"}"#.to_owned(); 40];
    for bad in [0, 17, 39] {
        lines[bad] = r#"{"t":"health"}"#.into();
    }
    fs::write(&file, lines.join("\n")).unwrap();
    let path = file.to_str().unwrap();
    // `system.webhook.` is nobody's to publish, `system.webhook.attacker_ok` no less.
    let all = ["publish", "--jsonl", path, "--ids", "--topic"];
    let output = run(dir.path(), &[&all[..], &["system.webhook.{t}"]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output).matches("(403)").count(),
        40,
        "{}",
        stderr(&output)
    );

    let mixed = dir.path().join("mixed.jsonl");
    let lines: Vec<String> = (0..40)
        .map(|n| {
            if [0, 17, 39].contains(&n) {
                r#"{"a":"system","b":"webhook"}"#
            } else {
                r#"{"a":"attacker","b":"x"}"#
            }
        })
        .map(str::to_owned)
        .collect();
    fs::write(&mixed, lines.join("\n")).unwrap();
    let path = mixed.to_str().unwrap();
    let output = run(
        dir.path(),
        &["publish", "--jsonl", path, "--ids", "--topic", "{a}.{b}.c"],
    )
    .await;
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for line in ["line 1: ", "line 18: ", "line 40: "] {
        assert!(said.contains(line), "{said}");
    }
    assert_eq!(stdout(&output).lines().count(), 37, "{said}");
}

#[tokio::test]
async fn a_publisher_outlives_its_server_and_doubles_nothing() {
    let dir = data_dir();
    let mut server = Decnet::serve(dir.path()).await;
    let port = server.port();
    let listen = Listen::start(dir.path(), &[]).await;
    server
        .api()
        .await
        .subscribe("all", listen.url(), Listen::SECRET, &["attacker.>"])
        .await;

    let file = dir.path().join("events.jsonl");
    let lines: Vec<String> = (0..600).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    fs::write(&file, lines.join("\n")).unwrap();
    let args = [
        "publish",
        "--topic",
        "attacker.n{n}",
        "--rate",
        "400",
        "--ids",
        "--jsonl",
    ];
    let mut publisher = decnet(dir.path(), args)
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ids = Lines::of(publisher.stdout.take().unwrap());
    let said = Lines::of(publisher.stderr.take().unwrap());
    for restart in 1..=2 {
        let until = restart * 150;
        let count = std::cell::Cell::new(0);
        let reached = ids.find(|_| {
            count.set(count.get() + 1);
            (count.get() >= until).then_some(())
        });
        assert!(reached.await.is_some(), "{:#?}", said.all());
        server.kill().await;
        server = Starter::new("serve", dir.path()).port(port).start().await;
    }
    let status = tokio::time::timeout(crate::support::PATIENCE, publisher.wait()).await;
    let status = status.expect("it ends").unwrap();
    assert!(status.success(), "{:#?}", said.all());

    let promised: HashSet<String> = {
        said.wait_for("published 600 in").await;
        ids.all().into_iter().collect()
    };
    assert_eq!(promised.len(), 600);
    let count = std::cell::RefCell::new(HashSet::new());
    let arrived = listen.wait_for(|row| {
        let mut seen = count.borrow_mut();
        seen.insert(row["event_id"].as_str().unwrap().to_owned());
        seen.len() == promised.len()
    });
    arrived.await;
    let rows = listen.rows();
    assert!(rows.iter().all(|row: &Value| row["verified"] == true));
    let arrived: HashSet<_> = rows
        .iter()
        .map(|row| row["event_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(arrived, promised);
    drop(server);
}

#[tokio::test]
async fn it_gives_up_when_it_is_told_to() {
    let dir = data_dir();
    let mut command = decnet(
        dir.path(),
        ["publish", "attacker.x", "--retry-for", "300ms"],
    );
    command
        .env("DECNET_API_URL", "http://127.0.0.1:1")
        .env("DECNET_TOKEN", "x");
    let output = finish(&mut command).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("trying again"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_token_that_may_not_publish_ends_it_at_once() {
    let dir = data_dir();
    let _decnet = Decnet::serve(dir.path()).await;
    let viewer = succeeded(&run(dir.path(), &["token", "create", "--role", "viewer"]).await);
    let file = dir.path().join("events.jsonl");
    fs::write(&file, "{}\n{}\n").unwrap();
    let mut command = decnet(dir.path(), ["publish", "--topic", "attacker.x", "--jsonl"]);
    command.arg(&file).env("DECNET_TOKEN", viewer.trim());
    let url = fs::read_to_string(dir.path().join("api.url")).unwrap();
    command.env("DECNET_API_URL", url.trim());
    let output = finish(&mut command).await;
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("Insufficient permissions (403)") && !said.contains("line 1"),
        "{said}"
    );
}
