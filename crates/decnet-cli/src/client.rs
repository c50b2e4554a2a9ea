//! Speaking to the API: where it is, who we are, and what its refusals say.

use std::{
    fs,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use url::Url;
use webhook_api::tokens::{self, JwtSecret, Role};
use webhook_model::FieldError;

use crate::settings::{DataDir, Env, HttpOptions, JwtKey, listen_address, parse_setting};

/// Longest wait for an answer: a test ping takes up to 10 s, the bus up to 10 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a connection; the server is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Life of a token that this program makes for itself.
const OWN_TTL: Duration = Duration::from_secs(600);
/// A token of our own is replaced at this age, long before a server with another clock refuses it.
const OWN_RENEWAL: Duration = Duration::from_secs(60);

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

/// The server's refusal, as RFC 9457 problem.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.sentence())]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// One plain sentence.
    pub(crate) detail: String,
    /// The fields that are wrong.
    pub(crate) errors: Vec<FieldError>,
    /// How long to stay away.
    pub(crate) retry_after: Option<Duration>,
    error_id: Option<String>,
}

impl Refusal {
    fn sentence(&self) -> String {
        let mut text = format!("{} ({})", self.detail, self.status.as_u16());
        // One wrong field is in the detail already.
        if self.errors.len() > 1 {
            for error in &self.errors {
                text.push_str(&format!("\n  {}: {}", error.field, error.detail));
            }
        }
        if let Some(id) = &self.error_id {
            text.push_str(&format!("\n  error_id {id}, as in the server's log"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            text.push_str("; is DECNET_TOKEN still valid, and made with this server's key?");
        }
        text
    }
}

/// What came back, when something did.
pub(crate) type Answered = Result<bytes::Bytes, Refusal>;

/// A client of one API.
pub(crate) struct Client {
    http: reqwest::Client,
    place: Place,
    token: Token,
}

enum Place {
    Given(Url),
    /// The server writes its address here; after a restart it may be another.
    File {
        data_dir: DataDir,
        last: Mutex<Url>,
    },
}

enum Token {
    Given(String),
    Own {
        secret: JwtSecret,
        role: Role,
        made: Mutex<Option<(String, Instant)>>,
    },
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
        let url = format!("{}{path}", base.as_str().trim_end_matches('/'));
        let mut request = self
            .http
            .request(method, &url)
            .header(header::ACCEPT, "application/json, application/problem+json")
            .bearer_auth(self.token.text());
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        let unreachable = |error: reqwest::Error| Unreachable {
            url: base.as_str().trim_end_matches('/').to_owned(),
            reason: reason(&error),
            remedy: self.place.remedy(),
        };
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
        Ok(Err(refusal(status, retry_after, &body)))
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

    /// Forgets a token of our own that the server refused: it may have a new key by now. Whether
    /// another try makes sense.
    pub(crate) fn renew_token(&self) -> bool {
        match &self.token {
            Token::Given(_) => false,
            Token::Own { made, .. } => made.lock().is_ok_and(|mut made| made.take().is_some()),
        }
    }
}

impl Place {
    fn find(env: Env<'_>, options: &ClientOptions, data_dir: &DataDir) -> anyhow::Result<Self> {
        let named = match &options.api_url {
            Some(url) => Some(("--api-url", url.clone())),
            None => env
                .text("DECNET_API_URL")?
                .map(|url| ("DECNET_API_URL", url)),
        };
        if let Some((name, url)) = named {
            let url = parse_setting(
                name,
                &url,
                "the base URL of an API",
                "use e.g. http://127.0.0.1:8000",
                |text| {
                    Url::parse(text)
                        .ok()
                        .filter(|url| matches!(url.scheme(), "http" | "https"))
                },
            )?;
            return Ok(Self::Given(url));
        }
        if let Some(url) = left_in(data_dir) {
            return Ok(Self::File {
                data_dir: data_dir.clone(),
                last: Mutex::new(url),
            });
        }
        let (host, port) = listen_address(env, &HttpOptions::default())?;
        let url = Url::parse(&format!("http://{host}:{port}"))
            .with_context(|| format!("DECNET_API_HOST={host:?} makes no URL"))?;
        Ok(Self::File {
            data_dir: data_dir.clone(),
            last: Mutex::new(url),
        })
    }

    /// The address to ask now.
    fn url(&self) -> Url {
        match self {
            Self::Given(url) => url.clone(),
            Self::File { data_dir, last } => {
                let mut last = last
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                if let Some(url) = left_in(data_dir) {
                    *last = url;
                }
                last.clone()
            }
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Given(_) => "is that the address of a running `decnet serve` or `decnet api`?",
            Self::File { .. } => {
                "start `decnet serve`, or say where the API is with DECNET_API_URL"
            }
        }
    }

    /// Whether a token made here stays on this machine.
    fn is_local(&self) -> bool {
        match self {
            Self::File { .. } => true,
            Self::Given(url) => match url.host() {
                Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
                Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
                Some(url::Host::Domain(name)) => name == "localhost",
                None => false,
            },
        }
    }
}

impl Token {
    fn text(&self) -> String {
        match self {
            Self::Given(token) => token.clone(),
            Self::Own { secret, role, made } => {
                let mut made = made
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                match &*made {
                    Some((token, at)) if at.elapsed() < OWN_RENEWAL => token.clone(),
                    _ => {
                        let token = tokens::mint(secret, *role, "decnet-cli", OWN_TTL);
                        *made = Some((token.clone(), Instant::now()));
                        token
                    }
                }
            }
        }
    }
}

fn left_in(data_dir: &DataDir) -> Option<Url> {
    Url::parse(fs::read_to_string(data_dir.api_url()).ok()?.trim()).ok()
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
            "there is no token: set DECNET_TOKEN, or run this as a user that can read {}",
            data_dir.jwt_secret().display()
        )
    })
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Refusal {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Body {
        detail: String,
        errors: Vec<Field>,
        error_id: Option<String>,
    }
    #[derive(Deserialize)]
    struct Field {
        field: String,
        detail: String,
    }
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let detail = if body.detail.is_empty() {
        format!("the server answered {status}; is it a decnet API?")
    } else {
        body.detail
    };
    let errors = body
        .errors
        .into_iter()
        .map(|e| FieldError {
            field: e.field,
            detail: e.detail,
        })
        .collect();
    Refusal {
        status,
        detail,
        errors,
        retry_after,
        error_id: body.error_id,
    }
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
    use super::*;

    #[test]
    fn problems_become_sentences() {
        let body = br#"{"type":"about:blank","title":"Unprocessable Entity","status":422,
            "detail":"2 fields are wrong: name, url","errors":[
            {"field":"name","detail":"is empty"},{"field":"url","detail":"has no host"}]}"#;
        let refusal = refusal(StatusCode::UNPROCESSABLE_ENTITY, None, body);
        assert_eq!(
            refusal.to_string(),
            "2 fields are wrong: name, url (422)\n  name: is empty\n  url: has no host"
        );
        let other = super::refusal(StatusCode::NOT_FOUND, None, b"<html>nginx</html>");
        assert!(
            other
                .to_string()
                .contains("404 Not Found; is it a decnet API?"),
            "{other}"
        );
    }

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
