use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::{install_tls, run, succeeded};

/// The HTTP API as any program would use it.
#[derive(Clone)]
pub(crate) struct Api {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Api {
    /// With a token that `decnet token create` makes for this role.
    pub(crate) async fn new(url: &str, dir: &Path, role: &str) -> Self {
        let output = run(
            dir,
            &["token", "create", "--role", role, "--name", "tester"],
        )
        .await;
        Self::with_token(url, succeeded(&output).trim())
    }

    /// With a token that somebody made.
    pub(crate) fn with_token(url: &str, token: &str) -> Self {
        install_tls();
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        Self {
            url: url.into(),
            token: token.to_owned(),
            http,
        }
    }

    /// The bearer token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Status and JSON of an answer (null for none).
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        self.try_ask(method, path, body)
            .await
            .expect("the API answers")
    }

    /// The same of a server that may be away.
    pub(crate) async fn try_ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<(u16, Value)> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// A subscription to these patterns; returns it as the API does.
    pub(crate) async fn subscribe(
        &self,
        name: &str,
        url: &str,
        secret: &str,
        patterns: &[&str],
    ) -> Value {
        let body = json!({"name": name, "url": url, "secret": secret, "topic_patterns": patterns});
        let (status, made) = self.ask(Method::POST, "/api/v1/webhooks", Some(body)).await;
        assert_eq!(status, 201, "{made}");
        made
    }

    /// Publishes one event and returns its id.
    pub(crate) async fn publish(&self, topic: &str, payload: Value) -> String {
        let body = json!({"topic": topic, "type": "test", "payload": payload});
        let (status, taken) = self.ask(Method::POST, "/api/v1/events", Some(body)).await;
        assert_eq!(status, 202, "{taken}");
        taken["ids"][0].as_str().expect("an id").to_owned()
    }
}
