//! The clock of the API an hour away from everybody else's: what a subscription is owed is decided
//! by places on the bus, and what is due by the database's clock.

use std::{collections::BTreeSet, path::Path, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    process::Command,
    time::{interval, timeout},
};
use webhook_model::UtcTime;
use webhook_testkit::{Behaviour, NatsServer, Postgres, Receiver};

use crate::support::{Api, Decnet, Listen, PATIENCE, Starter, data_dir, decnet, finish, succeeded};

const HOUR: i64 = 3_600;
/// Events on either side of the 201.
const EVENTS: usize = 50;
/// Pause between two looks at the delivery log.
const POLL: Duration = Duration::from_millis(50);
const SHIM: &str = include_str!("../fixtures/clock.c");

/// A wall clock that is wrong by so many seconds, for processes that start with its variables.
struct Clock {
    seconds: i64,
    dir: TempDir,
}

impl Clock {
    async fn shifted(seconds: i64) -> Self {
        let dir = data_dir();
        let source = dir.path().join("clock.c");
        std::fs::write(&source, SHIM).expect("a temporary file");
        // It links Rust's programs, so it is there.
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(dir.path().join("clock.so"))
            .arg(source);
        succeeded(&finish(&mut cc).await);
        Self { seconds, dir }
    }

    fn vars(&self) -> [(&'static str, String); 2] {
        let library = self.dir.path().join("clock.so");
        [
            ("LD_PRELOAD", library.display().to_string()),
            ("SHIFTED_CLOCK", self.seconds.to_string()),
        ]
    }

    /// A token that is of this clock's present.
    async fn token(&self, dir: &Path) -> String {
        let mut create = decnet(dir, ["token", "create", "--role", "admin"]);
        let made = finish(create.envs(self.vars())).await;
        succeeded(&made).trim().to_owned()
    }
}

/// What both processes share, as variables.
type Shared = Vec<(&'static str, String)>;

fn starter(command: &str, dir: &Path, vars: &[(&'static str, String)]) -> Starter {
    let with = |starter: Starter, (name, value): &(&str, String)| starter.var(name, value);
    vars.iter().fold(Starter::new(command, dir), with)
}

async fn publish(api: &Api) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for n in 0..EVENTS {
        ids.insert(api.publish("attacker.observed", json!({"n": n})).await);
    }
    ids
}

/// Everything after the 201 and nothing before it, though no worker ran.
async fn a_new_subscription_gets_what_follows_it(seconds: i64, shared: &Shared) {
    let (dir, clock) = (data_dir(), Clock::shifted(seconds).await);
    let receiver = Receiver::builder(Behaviour::ok())
        .secret(Listen::SECRET)
        .start()
        .await;
    let vars = [shared.as_slice(), &clock.vars()].concat();
    let api_process = starter("api", dir.path(), &vars).start().await;
    let api = Api::with_token(api_process.url(), &clock.token(dir.path()).await);

    publish(&api).await;
    let asked = UtcTime::now();
    let made = api
        .subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
        .await;
    let created = UtcTime::parse_sql(made["created_at"].as_str().unwrap()).unwrap();
    let away = (created.unix_seconds() - asked.unix_seconds()) - seconds;
    assert!(away.abs() < HOUR / 2, "its clock is not shifted: {made}");
    let mut owed = publish(&api).await;

    let mut worker: Decnet = starter("webhook", dir.path(), shared).start().await;
    // What is published while it runs comes last, so nothing older is still to come.
    owed.extend(publish(&api).await);
    receiver.wait_for(owed.len(), PATIENCE).await;
    assert!(worker.terminate().await.success());
    let received = receiver.received();
    assert!(received.iter().all(|it| it.is_verified()));
    let came: Vec<&str> = received.iter().filter_map(|it| it.event_id()).collect();
    assert_eq!(came.len(), owed.len(), "each once");
    assert_eq!(
        came.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(),
        owed
    );
}

async fn nats_and_postgres() -> (NatsServer, Shared) {
    let server = NatsServer::start().await;
    let shared = vec![
        ("DECNET_BUS_URL", server.url()),
        (
            "DECNET_DATABASE_URL",
            Postgres::shared().await.database().await,
        ),
    ];
    (server, shared)
}

async fn on_nats_and_postgres(seconds: i64) {
    let (_server, shared) = nats_and_postgres().await;
    a_new_subscription_gets_what_follows_it(seconds, &shared).await;
}

#[tokio::test]
async fn an_api_that_is_an_hour_ahead_of_nats() {
    on_nats_and_postgres(HOUR).await;
}

#[tokio::test]
async fn an_api_that_is_an_hour_behind_nats() {
    on_nats_and_postgres(-HOUR).await;
}

#[tokio::test]
async fn an_api_that_is_an_hour_ahead_of_the_worker_on_its_journal() {
    a_new_subscription_gets_what_follows_it(HOUR, &Shared::new()).await;
}

#[tokio::test]
async fn an_api_that_is_an_hour_behind_the_worker_on_its_journal() {
    a_new_subscription_gets_what_follows_it(-HOUR, &Shared::new()).await;
}

#[tokio::test]
async fn a_dead_letter_is_sent_again_at_once_by_an_api_that_is_an_hour_ahead() {
    let (_server, shared) = nats_and_postgres().await;
    let (dir, clock) = (data_dir(), Clock::shifted(HOUR).await);
    let receiver = Receiver::builder(Behaviour::status(400))
        .secret(Listen::SECRET)
        .start()
        .await;
    let vars = [shared.as_slice(), &clock.vars()].concat();
    let api_process = starter("api", dir.path(), &vars).start().await;
    let _worker = starter("webhook", dir.path(), &shared).start().await;
    let api = Api::with_token(api_process.url(), &clock.token(dir.path()).await);
    api.subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
        .await;
    let id = api.publish("attacker.observed", json!({})).await;
    let dead = timeout(PATIENCE, dead_letter(&api, &id)).await;
    let row = dead.expect("a final answer makes a dead letter");
    receiver.behave(Behaviour::ok());
    let retry = format!("/api/v1/deliveries/{row}/retry");
    let (status, answer) = api.ask(Method::POST, &retry, None).await;
    assert_eq!(status, 202, "{answer}");
    receiver
        .wait_until(|log| log.times(&id) == 1, PATIENCE)
        .await;
}

/// The delivery of an event, once it is dead.
async fn dead_letter(api: &Api, event: &str) -> Value {
    let path = format!("/api/v1/deliveries?status=dead&event_id={event}");
    let mut ticks = interval(POLL);
    loop {
        ticks.tick().await;
        let (_, page) = api.ask(Method::GET, &path, None).await;
        if let Some(row) = page["items"].get(0) {
            return row["id"].clone();
        }
    }
}
