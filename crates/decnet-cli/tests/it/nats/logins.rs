//! Who may come in, and what is said to those who may not.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use tempfile::TempDir;
use webhook_testkit::{NatsAccount, NatsServer, nats_certificates};

use crate::support::{Starter, data_dir, decnet, finish, stderr};

/// Pairs made for this test alone.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
const PASSWORD: (&str, &str) = ("DECNET_NATS_PASSWORD", "hunter2");

struct Client {
    dir: TempDir,
    url: String,
}

impl Client {
    fn of(server: &NatsServer, scheme: &str) -> Self {
        Self {
            dir: data_dir(),
            url: format!("{scheme}://127.0.0.1:{}", server.port()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("a temporary file");
        self.path(name).display().to_string()
    }

    /// The API is up, and the bus takes an event.
    async fn comes_in(&self, vars: &[(&str, &str)]) {
        let starter = Starter::new("api", self.dir.path()).var("DECNET_BUS_URL", &self.url);
        let with = |starter: Starter, (name, value): &(&str, &str)| starter.var(name, value);
        let mut decnet = vars.iter().fold(starter, with).start().await;
        let api = decnet.api().await;
        api.publish("attacker.observed", json!({})).await;
        assert!(decnet.terminate().await.success());
    }

    /// API and worker both end at once, and one line says what to do: all of `expected` is in it.
    async fn is_refused(&self, vars: &[(&str, &str)], expected: &[&str]) {
        for command in ["api", "webhook"] {
            let mut started = decnet(self.dir.path(), [command]);
            started.env("DECNET_BUS_URL", &self.url);
            started.envs(vars.iter().copied());
            started.env("DECNET_API_PORT", "0");
            started.env("DECNET_METRICS_ADDR", "127.0.0.1:0");
            let output = finish(&mut started).await;
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{vars:?}: {text}");
            let said: Vec<&str> = text.lines().filter(|it| it.contains("error")).collect();
            assert_eq!(said.len(), 1, "{vars:?}: {text}");
            for part in expected {
                assert!(said[0].contains(part), "{vars:?}: {part} is not in {text}");
            }
            for secret in [PASSWORD.1, SEED] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_user_with_a_password() {
    let users = "jetstream: enabled\nauthorization { users: [{user: ann, password: hunter2}] }";
    let server = NatsServer::with(users).await;
    let client = Client::of(&server, "nats");
    let ann = ("DECNET_NATS_USER", "ann");
    client.comes_in(&[ann, PASSWORD]).await;
    let file = client.file("password", "hunter2\n");
    client
        .comes_in(&[ann, ("DECNET_NATS_PASSWORD_FILE", &file)])
        .await;
    let check = ["does not let us in", "--nats-user", "DECNET_NATS_PASSWORD"];
    let bob = ("DECNET_NATS_USER", "bob");
    client.is_refused(&[bob, PASSWORD], &check).await;
    client.is_refused(&[], &["--nats-creds, --nats-nkey"]).await;
    client
        .is_refused(&[ann], &["DECNET_NATS_PASSWORD is not set"])
        .await;
}

#[tokio::test]
async fn an_nkey() {
    let known = format!("jetstream: enabled\nauthorization {{ users: [{{nkey: {PUBLIC}}}] }}");
    let server = NatsServer::with(&known).await;
    let client = Client::of(&server, "nats");
    let seed = client.file("seed", &format!("{SEED}\n"));
    client.comes_in(&[("DECNET_NATS_NKEY_FILE", &seed)]).await;
    client.comes_in(&[("DECNET_NATS_NKEY", SEED)]).await;
    let check = ["does not let us in", "--nats-nkey"];
    for wrong in ["SUAnothing", PUBLIC] {
        client
            .is_refused(&[("DECNET_NATS_NKEY", wrong)], &check)
            .await;
    }
    let missing = ("DECNET_NATS_NKEY_FILE", "/none");
    client
        .is_refused(
            &[missing],
            &["DECNET_NATS_NKEY_FILE=\"/none\" cannot be read"],
        )
        .await;
}

#[tokio::test]
async fn a_credentials_file() {
    let account = NatsAccount::new();
    let server = NatsServer::with(&account.config()).await;
    let client = Client::of(&server, "nats");
    let ours = client.file("ours.creds", &account.credentials());
    client.comes_in(&[("DECNET_NATS_CREDS", &ours)]).await;
    let theirs = client.file("theirs.creds", &NatsAccount::new().credentials());
    let check = ["does not let us in", "--nats-creds", "account"];
    client
        .is_refused(&[("DECNET_NATS_CREDS", &theirs)], &check)
        .await;
    let empty = client.file("empty.creds", "");
    let holds = [empty.as_str(), "--nats-creds", "JWT and seed"];
    client
        .is_refused(&[("DECNET_NATS_CREDS", &empty)], &holds)
        .await;
    files_are_read(&client, "DECNET_NATS_CREDS", &[]).await;
}

#[tokio::test]
async fn a_client_certificate() {
    let files = tempfile::tempdir().expect("a temporary directory");
    let server = NatsServer::with(&nats_certificates(files.path())).await;
    let client = Client::of(&server, "tls");
    let file = |name: &str| files.path().join(name).display().to_string();
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let ca = ("DECNET_NATS_CA", ca.as_str());
    let cert = ("DECNET_NATS_CERT", cert.as_str());
    let key = ("DECNET_NATS_KEY", key.as_str());
    client.comes_in(&[ca, cert, key]).await;
    let check = [
        "no TLS connection",
        "--nats-ca",
        "--nats-cert and --nats-key",
    ];
    client.is_refused(&[cert, key], &check).await;
    client.is_refused(&[ca], &check).await;
    let other = ("DECNET_NATS_CA", cert.1);
    client.is_refused(&[other, cert, key], &check).await;
    let nothing = client.file("nothing.pem", "nothing of the kind");
    for wrong in ["DECNET_NATS_CA", "DECNET_NATS_CERT", "DECNET_NATS_KEY"] {
        let vars = [ca, cert, key].map(|it| {
            if it.0 == wrong {
                (wrong, nothing.as_str())
            } else {
                it
            }
        });
        client.is_refused(&vars, &check).await;
        files_are_read(&client, wrong, &[ca, cert, key]).await;
    }
    client
        .is_refused(&[ca, cert], &["--nats-cert", "--nats-key belong together"])
        .await;
}

/// A path without a file is named with its variable, and so is one that cannot be read.
async fn files_are_read(client: &Client, name: &str, others: &[(&str, &str)]) {
    let folder = client.dir.path().display().to_string();
    for path in ["/none", &folder] {
        assert!(!Path::new(path).is_file());
        let mut vars: Vec<_> = others.iter().copied().filter(|it| it.0 != name).collect();
        vars.push((name, path));
        let says = format!("{name}={path:?} cannot be read");
        client.is_refused(&vars, &[&says]).await;
    }
}
