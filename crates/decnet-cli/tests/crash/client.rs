//! A client of the API that outlives its servers: what did not get an answer is asked again.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{Api, PATIENCE};

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(30);

#[derive(Clone)]
pub(crate) struct Client(Api);

impl Client {
    pub(crate) fn new(api: Api) -> Self {
        Self(api)
    }

    /// Asks until there is an answer other than "come again later".
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let begun = Instant::now();
        loop {
            let answer = self.0.try_ask(method.clone(), path, body.clone()).await;
            match answer {
                Ok((status, body)) if status < 500 => return (status, body),
                other => assert!(begun.elapsed() < PATIENCE, "{path}: {other:?}"),
            }
            sleep(PAUSE).await;
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Asks until the answer is as wanted.
    pub(crate) async fn until(
        &self,
        path: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let begun = Instant::now();
        loop {
            let body = self.get(path).await;
            if wanted(&body) {
                return body;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {path}: {body}");
            sleep(PAUSE).await;
        }
    }

    /// Publishes until it is promised.
    pub(crate) async fn publish(&self, topic: &str, id: &str) {
        let event = json!({"id": id, "topic": topic, "type": "test", "payload": {}});
        let (status, body) = self.ask(Method::POST, "/api/v1/events", Some(event)).await;
        assert_eq!(status, 202, "{body}");
    }

    /// Creates a subscription, or finds the one that a lost answer told of; its uuid.
    pub(crate) async fn subscribe(&self, name: &str, body: &Value) -> String {
        let (status, made) = self
            .ask(Method::POST, "/api/v1/webhooks", Some(body.clone()))
            .await;
        let made = if status == 409 {
            let all = self.get("/api/v1/webhooks").await;
            let all = all.as_array().expect("a list").clone();
            all.into_iter()
                .find(|it| it["name"] == name)
                .expect("a name that is taken is listed")
        } else {
            assert_eq!(status, 201, "{made}");
            made
        };
        made["uuid"].as_str().expect("a uuid").to_owned()
    }

    /// The ids of a subscription's deliveries in one status.
    pub(crate) async fn deliveries(&self, uuid: &str, status: &str) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        let first = format!("/api/v1/deliveries?subscription={uuid}&status={status}&limit=500");
        let mut path = first.clone();
        loop {
            let page = self.get(&path).await;
            let rows = page["items"].as_array().expect("a list");
            ids.extend(
                rows.iter()
                    .map(|row| row["event_id"].as_str().expect("an id").to_owned()),
            );
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("{first}&cursor={cursor}"),
                None => return ids,
            }
        }
    }

    /// Begins a replay; the job's id.
    pub(crate) async fn replay(&self, uuid: &str, status: &str) -> String {
        let path = format!("/api/v1/webhooks/{uuid}/replay");
        let body = json!({"status": status});
        let (answered, job) = self.ask(Method::POST, &path, Some(body)).await;
        assert_eq!(answered, 202, "{job}");
        job["id"].as_str().expect("an id").to_owned()
    }

    /// Waits for the end of a replay.
    pub(crate) async fn replayed(&self, id: &str) -> Value {
        let path = format!("/api/v1/replays/{id}");
        self.until(&path, "the replay ends", |job| job["state"] != "running")
            .await
    }
}
