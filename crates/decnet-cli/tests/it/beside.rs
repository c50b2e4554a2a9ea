//! On a machine with a DECNET: its settings count, its tables are its own to make, and what cannot be
//! found is asked for.

use std::{fs, path::Path, process::Stdio};

use reqwest::Method;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;
use webhook_testkit::{Broker, DECNET_SCHEMA, DecnetMaster};

use crate::support::{Lines, Starter, data_dir, decnet, finish, stderr};

const NAME: &str = "decnet-webhook";
const KEY: &str = "0123456789abcdef0123456789abcdef";

fn master() -> (TempDir, DecnetMaster) {
    let dir = data_dir();
    let master = DecnetMaster::below(dir.path());
    master.init().unwrap();
    (dir, master)
}

/// Its first start: statement by statement, and none of them fails.
fn make_schema(file: &Path) {
    let database = Connection::open(file).unwrap();
    for statement in DECNET_SCHEMA {
        database.execute_batch(statement).unwrap();
    }
}

fn tables(file: &Path) -> i64 {
    let database = Connection::open(file).unwrap();
    let count = "SELECT count(*) FROM sqlite_schema";
    database.query_row(count, [], |row| row.get(0)).unwrap()
}

/// It takes over: there is no other worker to listen for.
fn worker(dir: &Path) -> Starter {
    Starter::new("webhook", dir).var("DECNET_WEBHOOK_TAKEOVER", "true")
}

async fn refused(dir: &Path, vars: &[(&str, &str)]) -> String {
    let mut command = decnet(dir, ["webhook", "--metrics-addr", "127.0.0.1:0"]);
    let output = finish(command.envs(vars.iter().copied())).await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stderr(&output)
}

#[tokio::test]
async fn its_settings_count_and_every_value_says_where_it_came_from() {
    let (dir, master) = master();
    master
        .write_ini("[web]\nport = 8443\n[api]\nhost = 127.0.0.1\n")
        .unwrap();
    master
        .write_secrets(&format!("DECNET_JWT_SECRET={KEY}\n"))
        .unwrap();
    make_schema(&master.database());
    let broker = Broker::start(master.socket()).await;
    let worker = worker(dir.path()).start().await;
    broker
        .wait_for_pattern(NAME, "system.webhook.control")
        .await;
    let log = worker.log().all().join("\n");
    let says = |label: &str, parts: &[&str]| {
        let mut lines = log
            .lines()
            .filter(|line| line.trim_start().starts_with(label));
        assert!(
            lines.any(|line| parts.iter().all(|part| line.contains(part))),
            "{label} {parts:?}: {log}"
        );
    };
    let database = master.database().display().to_string();
    says("database", &[&database, "(DECNET's own, by "]);
    let socket = master.socket().display().to_string();
    says("bus", &[&socket, "(decnet-bus.service)"]);
    says(
        "of DECNET",
        &["DECNET_API_HOST, DECNET_WEB_PORT", "decnet.ini"],
    );
    says("of DECNET", &["DECNET_JWT_SECRET", ".env.local"]);
    assert!(!log.contains(KEY), "{log}");

    // Its key signs tokens here: the client made one with it, and no key of ours is there.
    let api = Starter::new("api", dir.path()).start().await;
    let (status, _) = api
        .api()
        .await
        .ask(Method::GET, "/api/v1/webhooks", None)
        .await;
    assert_eq!(status, 200);
    assert!(!dir.path().join("jwt.secret").exists());
}

#[tokio::test]
async fn its_tables_are_waited_for_and_never_made_before_it() {
    let (dir, master) = master();
    fs::write(master.database(), "").unwrap();
    let broker = Broker::start(master.socket()).await;
    let mut worker = worker(dir.path()).spawn();
    worker
        .log()
        .wait_for("idle until DECNET has made its tables")
        .await;
    let (status, body) = worker.readiness().await;
    assert_eq!(status, 503);
    assert!(body.contains("DECNET's tables in the database"), "{body}");
    assert_eq!(tables(&master.database()), 0);
    make_schema(&master.database());
    broker
        .wait_for_pattern(NAME, "system.webhook.control")
        .await;
    assert!(tables(&master.database()) > 10);
    assert!(worker.terminate().await.success());
}

#[tokio::test]
async fn a_named_database_that_is_not_there_is_made_only_when_told_to() {
    let dir = data_dir();
    let url = format!("sqlite://{}", dir.path().join("named.db").display());
    let vars = [("DECNET_DATABASE_URL", url.as_str())];
    let said = refused(dir.path(), &vars).await;
    assert!(
        said.contains("DECNET_DATABASE_URL names the database file") && said.contains("--create"),
        "{said}"
    );
    assert!(!dir.path().join("named.db").exists());
    let mut api = decnet(dir.path(), ["api", "--create", "--port", "0"])
        .envs(vars)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Lines::of(api.stderr.take().unwrap())
        .wait_for("http://127.0.0.1")
        .await;
    assert!(tables(&dir.path().join("named.db")) > 10);
    api.kill().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_found_is_asked_for() {
    let dir = data_dir();
    let master = DecnetMaster::below(dir.path());
    master.write_ini("[api]\nhost = 127.0.0.1\n").unwrap();
    let said = refused(dir.path(), &[]).await;
    assert!(
        said.contains("nothing says where its database is; set DECNET_DATABASE_URL"),
        "{said}"
    );
    let file = dir.path().join("main.db");
    make_schema(&file);
    let url = format!("sqlite://{}", file.display());
    let named = ("DECNET_DATABASE_URL", url.as_str());
    let said = refused(dir.path(), &[named]).await;
    assert!(
        said.contains("nothing says where its bus is; set DECNET_BUS_SOCKET"),
        "{said}"
    );
    let socket = ("DECNET_BUS_SOCKET", "/run/decnet/bus.sock");
    let fake = [named, socket, ("DECNET_BUS_TYPE", "fake")];
    let said = refused(dir.path(), &fake).await;
    assert!(said.contains("DECNET_BUS_TYPE=fake"), "{said}");
    master
        .write_ini("[database]\ntype = mysql\nname = decnet\n")
        .unwrap();
    let said = refused(dir.path(), &[]).await;
    assert!(said.contains("set DECNET_DB_USER"), "{said}");
    assert!(said.contains("decnet.ini"), "{said}");
}

#[tokio::test]
async fn values_count_as_they_do_for_decnet_and_what_is_ignored_is_told() {
    let dir = data_dir();
    let server = Starter::new("serve", dir.path())
        .var("DECNET_WEBHOOK_ALLOW_PRIVATE", "yes")
        .var("DECNET_WEBHOOK_BUS_RECONNECT_SECS", "0.5")
        .var("DECNET_WEBHOOK_CIRCUIT_THRESHOLD", "0")
        .var("HTTPS_PROXY", "http://proxy.example:3128")
        .start()
        .await;
    let log = server.log().all().join("\n");
    for said in [
        "DECNET_WEBHOOK_ALLOW_PRIVATE=\"yes\" counts as false",
        "DECNET_WEBHOOK_BUS_RECONNECT_SECS=0.5 counts as 1",
        "DECNET_WEBHOOK_CIRCUIT_THRESHOLD=0 counts as 1",
        "HTTPS_PROXY counts for nothing here",
    ] {
        assert_eq!(log.matches(said).count(), 1, "{said}: {log}");
    }
    assert!(
        !log.contains("proxy.example"),
        "it may hold a password: {log}"
    );
    let (status, body) = server
        .api()
        .await
        .ask(
            Method::POST,
            "/api/v1/webhooks",
            Some(json!({"name": "in", "url": "http://10.0.0.5/", "topic_patterns": ["a.>"]})),
        )
        .await;
    assert_eq!(status, 422, "the guard is open: {body}");
}

#[tokio::test]
async fn an_agents_ini_keeps_the_masters_commands_away() {
    let dir = data_dir();
    let master = DecnetMaster::below(dir.path());
    master.write_ini("[decnet]\nmode = agent\n").unwrap();
    let said = refused(dir.path(), &[]).await;
    assert!(said.contains("runs on the master only"), "{said}");
    let said = refused(dir.path(), &[("DECNET_MODE", "master")]).await;
    assert!(!said.contains("runs on the master only"), "{said}");
}
