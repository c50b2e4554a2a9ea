//! A day of a honeypot from `decnet publish` to `decnet listen`, also while servers are killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::process::Child;
use webhook_testkit::long_or_short;

use crate::support::{Decnet, Lines, Listen, Starter, data_dir, decnet};

/// Lines of the day.
const LINES: usize = 1_164;
/// Kills of each server.
const KILLS: usize = 3;

/// The recorded day where it lies beside the project, else one made up in its shape.
pub(crate) fn day(dir: &Path) -> PathBuf {
    let recorded =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/cowrie-2018-05-09.jsonl");
    if recorded.exists() {
        return recorded;
    }
    let made_up = dir.join("day.jsonl");
    let kinds = [
        "session.connect",
        "client.version",
        "login.failed",
        "session.closed",
    ];
    let lines: Vec<String> = (0..LINES)
        .map(|n| {
            json!({
                "eventid": format!("cowrie.{}", kinds[n % kinds.len()]),
                "session": format!("{:012x}", n / kinds.len()),
                "src_ip": format!("192.0.2.{}", n % 250),
                "duration": n as f64 / 7.0,
                "message": "päss\"wörd ☃",
            })
            .to_string()
        })
        .collect();
    std::fs::write(&made_up, lines.join("\n")).expect("the day is written");
    made_up
}

pub(crate) struct Publisher {
    child: Child,
    ids: Lines,
    log: Lines,
}

impl Publisher {
    pub(crate) fn start(dir: &Path, url: &str, day: &Path, args: &[&str]) -> Self {
        let day = day.to_str().expect("a path of text");
        let all = [
            "publish",
            "--ids",
            "--jsonl",
            day,
            "--topic",
            "attacker.{eventid}",
        ];
        let mut child = decnet(dir, all.iter().chain(args))
            .env("DECNET_API_URL", url)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("decnet publish starts");
        let ids = Lines::of(child.stdout.take().expect("it is piped"));
        let log = Lines::of(child.stderr.take().expect("it is piped"));
        Self { child, ids, log }
    }

    /// Waits for its end; returns the ids that the server has taken.
    pub(crate) async fn finish(mut self) -> BTreeSet<String> {
        let status = self.child.wait().await.expect("its status can be had");
        assert!(status.success(), "{status}: {:#?}", self.log.all());
        let ids: BTreeSet<String> = self.ids.all().into_iter().collect();
        assert_eq!(ids.len(), LINES, "{:#?}", self.log.all());
        ids
    }
}

/// Payloads as a sorted list, to compare what was read with what arrived.
fn sorted(values: impl Iterator<Item = Value>) -> Vec<String> {
    let mut texts: Vec<String> = values.map(|value| value.to_string()).collect();
    texts.sort();
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_the_day_arrives_verified_and_once() {
    let dir = data_dir();
    let day = day(dir.path());
    let listen = Listen::start(dir.path(), &[]).await;
    let mut server = Decnet::serve(dir.path()).await;
    let api = server.api().await;
    api.subscribe("siem", listen.url(), Listen::SECRET, &["attacker.>"])
        .await;

    let publisher = Publisher::start(dir.path(), server.url(), &day, &[]);
    let ids = publisher.finish().await;
    let rows = listen.wait_for_count(LINES).await;
    assert!(server.terminate().await.success());

    assert_eq!(listen.rows().len(), LINES, "each once");
    assert!(
        rows.iter()
            .all(|row| row["verified"] == true && row["duplicate"] == false)
    );
    let arrived: BTreeSet<String> = rows.iter().map(event_id).collect();
    assert_eq!(arrived, ids);

    let text = std::fs::read_to_string(&day).expect("the day can be read");
    let published = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"));
    assert_eq!(
        sorted(rows.iter().map(|row| row["body"]["payload"].clone())),
        sorted(published)
    );
}

fn event_id(row: &Value) -> String {
    row["event_id"].as_str().expect("an id").to_owned()
}

/// Which processes make up the installation.
#[derive(Clone, Copy)]
enum Shape {
    Serve,
    ApiAndWebhook,
}

impl Shape {
    fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Serve => &["serve"],
            Self::ApiAndWebhook => &["api", "webhook"],
        }
    }

    /// Starts it; the first of its processes serves the API.
    async fn start(self, dir: &Path, port: u16) -> Vec<Decnet> {
        let mut servers = Vec::new();
        for command in self.commands() {
            let starter = Starter::new(command, dir);
            let starter = if *command == "webhook" {
                starter
            } else {
                starter.port(port)
            };
            servers.push(starter.start().await);
        }
        servers
    }
}

/// The events whose delivery is on record.
fn recorded(dir: &Path) -> BTreeSet<String> {
    let database = rusqlite::Connection::open(dir.join("decnet.db")).expect("the database opens");
    let mut query = database
        .prepare("SELECT event_id FROM webhook_deliveries")
        .expect("the log is there");
    let ids = query
        .query_map([], |row| row.get(0))
        .expect("the log can be read");
    ids.map(|id| id.expect("an id")).collect()
}

async fn survives_kills(shape: Shape) {
    let dir = data_dir();
    let day = day(dir.path());
    let listen = Listen::start(dir.path(), &[]).await;
    let mut servers = shape.start(dir.path(), 0).await;
    let (url, port) = (servers[0].url().to_owned(), servers[0].port());
    let api = servers[0].api().await;
    api.subscribe("siem", listen.url(), Listen::SECRET, &["attacker.>"])
        .await;

    let publisher = Publisher::start(dir.path(), &url, &day, &["--rate", "200"]);
    let mut on_record: Vec<BTreeSet<String>> = Vec::new();
    let share = LINES / (KILLS + 1);
    for kill in 0..KILLS {
        let moment = kill * share + rand::random_range(1..share);
        listen.wait_for_count(moment).await;
        for server in &mut servers {
            server.kill().await;
        }
        on_record.push(recorded(dir.path()));
        servers = shape.start(dir.path(), port).await;
    }
    let ids = publisher.finish().await;
    let last = ids.len();
    let mut wanted = last;
    let rows = loop {
        let rows = listen.wait_for_count(wanted).await;
        let arrived: BTreeSet<String> = rows.iter().map(event_id).collect();
        if arrived.len() == last {
            break rows;
        }
        // Some came twice: as many more rows are still to come.
        wanted = rows.len() + last - arrived.len();
    };
    for server in &mut servers {
        assert!(server.terminate().await.success());
    }

    assert!(rows.iter().all(|row| row["verified"] == true));
    let arrived: BTreeSet<String> = rows.iter().map(event_id).collect();
    assert_eq!(arrived, ids, "nothing is lost, nothing is made up");

    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for row in listen.rows() {
        *times.entry(event_id(&row)).or_default() += 1;
    }
    let twice: Vec<&String> = times
        .iter()
        .filter(|(_, n)| **n > 1)
        .map(|(id, _)| id)
        .collect();
    // Only what was in flight or unrecorded at a kill may come again: at most a window each.
    assert!(twice.len() <= KILLS * 64, "{} came twice", twice.len());
    assert!(
        times.values().all(|n| *n <= KILLS + 1),
        "nothing comes more often than the server was started"
    );
    let first = &on_record[0];
    let again = listen
        .rows()
        .into_iter()
        .skip_while(|row| row["duplicate"] == false);
    let repeated: BTreeSet<String> = again
        .filter(|row| row["duplicate"] == true)
        .map(|row| event_id(&row))
        .collect();
    assert!(
        repeated.is_disjoint(first),
        "what was on record at the first kill never came again"
    );
    eprintln!(
        "{} events, {KILLS} kills, {} came twice",
        ids.len(),
        twice.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_serve_is_killed() {
    for _ in 0..long_or_short(10, 1) {
        survives_kills(Shape::Serve).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_api_and_webhook_are_killed() {
    for _ in 0..long_or_short(10, 1) {
        survives_kills(Shape::ApiAndWebhook).await;
    }
}
