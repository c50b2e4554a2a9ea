//! Speaking to the API: where it is, who we are, and what its refusals say.

mod names;
mod place;
mod proof;
mod refusal;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use reqwest::{Method, header};
use url::Url;
use webhook_api::tokens::{self, JwtSecret, Role};

use self::place::Place;
pub(crate) use self::{
    names::{Names, looks_like_uuid, route, segment},
    refusal::Refusal,
};
use crate::settings::{DataDir, Env, JwtKey};

/// Longest wait for an answer: a test ping takes up to 10 s, the bus up to 10 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a connection; the server is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Life of a token that this program makes for itself, for a server on this machine and so by the same
/// clock: a request takes no longer to arrive.
const OWN_TTL: Duration = Duration::from_secs(30);
/// A token of our own is replaced at this age, while a request with it still arrives in time.
const OWN_RENEWAL: Duration = Duration::from_secs(10);

/// Where the API is and what to show it, as flags and environment say.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct ClientOptions {
    /// Base URL of the API [env: DECNET_API_URL; default: the server on this machine's data
    /// directory]
    #[arg(long, value_name = "URL", global = true)]
    api_url: Option<String>,
    /// Data directory to find address and key in [env: DECNET_DATA_DIR]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<std::path::PathBuf>,
}

/// The server gave no answer at all.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {url} ({reason}); {remedy}")]
pub(crate) struct Unreachable {
    url: String,
    reason: String,
    remedy: &'static str,
}

/// Reads an answer.
pub(crate) fn decode<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("the server's answer is not what this program expects")
}

/// What came back, when something did.
pub(crate) type Answered = Result<bytes::Bytes, Refusal>;

/// A client of one API.
pub(crate) struct Client {
    http: reqwest::Client,
    place: Place,
    token: Token,
}

enum Token {
    Given(String),
    Own {
        secret: JwtSecret,
        role: Role,
        made: Mutex<Option<Arc<Made>>>,
    },
}

/// A token of our own, for the server that had proven that it may have one.
struct Made {
    token: String,
    base: Url,
    at: Instant,
}

impl Client {
    /// A client for what `role` may do. `DECNET_TOKEN` comes first; without it, who can read the
    /// data directory's key needs none.
    pub(crate) fn new(env: Env<'_>, options: &ClientOptions, role: Role) -> anyhow::Result<Self> {
        let data_dir = DataDir::for_client(env, options.data_dir.as_deref());
        let place = Place::find(env, options, &data_dir)?;
        let token = match env.secret("DECNET_TOKEN")? {
            Some(token) => Token::Given(token),
            None => Token::Own {
                secret: own_key(env, &data_dir, &place)?,
                role,
                made: Mutex::default(),
            },
        };
        Self::with(place, token)
    }

    /// A client for this address with this token, whatever the environment says.
    pub(crate) fn to(url: &str, token: &str) -> anyhow::Result<Self> {
        Self::with(
            Place::Given(Url::parse(url)?),
            Token::Given(token.to_owned()),
        )
    }

    fn with(place: Place, token: Token) -> anyhow::Result<Self> {
        // The process's own default: this is the program, and no library of it sets one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .user_agent(concat!("decnet/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("setting up the HTTP client")?;
        Ok(Self { http, place, token })
    }

    /// Asks, and returns the body of a 2xx. The outer error is that no answer came.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<bytes::Bytes>,
    ) -> Result<Answered, Unreachable> {
        let base = self.place.url();
        let token = self.token_for(&base).await?;
        let url = format!("{}{path}", base.as_str().trim_end_matches('/'));
        let mut request = self
            .http
            .request(method, &url)
            .header(header::ACCEPT, "application/json, application/problem+json")
            .bearer_auth(token);
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        let unreachable = |error: reqwest::Error| self.unreachable(&base, reason(&error));
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let retry_after = answer
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let body = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(Ok(body));
        }
        Ok(Err(Refusal::read(status, retry_after, &body)))
    }

    /// Asks where any refusal ends the command.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<bytes::Bytes>,
    ) -> anyhow::Result<bytes::Bytes> {
        Ok(self.ask(method, path, body).await??)
    }

    /// What to show the server at `base`. One of our own is shown to nobody who does not prove that he
    /// has its key already: after a crash anybody may listen where the server did.
    async fn token_for(&self, base: &Url) -> Result<String, Unreachable> {
        let (secret, role, made) = match &self.token {
            Token::Given(token) => return Ok(token.clone()),
            Token::Own { secret, role, made } => (secret, *role, made),
        };
        let known = made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known
            && known.base == *base
            && known.at.elapsed() < OWN_RENEWAL
        {
            return Ok(known.token.clone());
        }
        match proof::ask(&self.http, base, secret).await {
            Ok(true) => {}
            Ok(false) => {
                return Err(Unreachable {
                    url: base.as_str().trim_end_matches('/').to_owned(),
                    reason: "who listens there does not prove to have this machine's key".into(),
                    remedy: proof::REMEDY,
                });
            }
            Err(error) => return Err(self.unreachable(base, reason(&error))),
        }
        let token = tokens::mint(secret, role, "decnet-cli", OWN_TTL);
        *made.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(Made {
            token: token.clone(),
            base: base.clone(),
            at: Instant::now(),
        }));
        Ok(token)
    }

    fn unreachable(&self, base: &Url, reason: String) -> Unreachable {
        Unreachable {
            url: base.as_str().trim_end_matches('/').to_owned(),
            reason,
            remedy: self.place.remedy(),
        }
    }

    /// Forgets a token of our own that the server refused: it may have a new key by now. Whether
    /// another try makes sense.
    pub(crate) fn renew_token(&self) -> bool {
        match &self.token {
            Token::Given(_) => false,
            Token::Own { made, .. } => made.lock().is_ok_and(|mut made| made.take().is_some()),
        }
    }
}

fn own_key(env: Env<'_>, data_dir: &DataDir, place: &Place) -> anyhow::Result<JwtSecret> {
    if !place.is_local() {
        bail!(
            "DECNET_TOKEN is not set; make a token where the server runs (`decnet token create \
             --role …`): this machine's own key is not shown to another one"
        );
    }
    JwtKey::for_client(env, data_dir)?.with_context(|| {
        format!(
            "there is no token: set DECNET_TOKEN, or run this as a user that can read {}, which \
             `decnet serve` and `decnet api` make at their first start",
            data_dir.jwt_secret().display()
        )
    })
}

/// The innermost cause, which is what says something: "Connection refused (os error 111)".
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn this_machines_key_is_not_shown_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let secret = "0123456789abcdef0123456789abcdef";
        let vars = |url: &'static str| {
            [
                ("DECNET_API_URL", url),
                ("DECNET_JWT_SECRET", secret),
                ("DECNET_DATA_DIR", dir.path().to_str().unwrap()),
            ]
        };
        let new = |url| Client::new(Env(&vars(url)), &ClientOptions::default(), Role::Admin);
        assert!(new("http://127.0.0.1:8000").is_ok());
        assert!(new("http://localhost:8000/").is_ok());
        let Err(error) = new("https://decnet.example") else {
            panic!("the key went out")
        };
        assert!(error.to_string().contains("DECNET_TOKEN"), "{error}");
        let Err(error) = new("127.0.0.1:8000") else {
            panic!("that is no URL")
        };
        assert!(
            error.to_string().contains("http://127.0.0.1:8000"),
            "{error}"
        );
    }

    #[test]
    fn the_address_follows_what_the_server_left() {
        let dir = tempfile::tempdir().unwrap();
        let vars = [
            ("DECNET_DATA_DIR", dir.path().to_str().unwrap()),
            ("DECNET_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
        ];
        let client = Client::new(Env(&vars), &ClientOptions::default(), Role::Admin).unwrap();
        assert_eq!(client.place.url().as_str(), "http://127.0.0.1:8000/");
        fs::write(dir.path().join("api.url"), "http://127.0.0.1:4711\n").unwrap();
        assert_eq!(client.place.url().as_str(), "http://127.0.0.1:4711/");
        fs::remove_file(dir.path().join("api.url")).unwrap();
        assert_eq!(client.place.url().as_str(), "http://127.0.0.1:4711/");
    }
}
