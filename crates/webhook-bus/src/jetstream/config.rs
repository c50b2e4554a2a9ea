use std::{fmt, path::PathBuf, time::Duration};

use tokio::sync::mpsc;
use url::Url;
use webhook_model::{TopicPattern, topics};

use crate::{BusError, Gap};

/// NATS's own port.
const PORT: u16 = 4222;

/// How to reach a NATS server or cluster, and what its stream is like.
#[derive(Debug, Clone)]
pub struct JetStreamConfig {
    /// `nats://host:port` or `tls://host:port`, without credentials.
    pub servers: Vec<String>,
    /// Who this is. A user and password in the servers' URLs come here.
    pub login: NatsLogin,
    /// The certificate authority of the servers, PEM; none: the system's.
    pub ca: Option<PathBuf>,
    /// Certificate and key of this client, PEM.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Name of the stream. `DECNET`.
    pub stream: String,
    /// What it captures. DECNET's roots, each as `root.>`.
    pub subjects: Vec<TopicPattern>,
    /// On how many servers it is kept. 1.
    pub replicas: usize,
    /// How long messages stay. 7 days.
    pub max_age: Duration,
    /// How much they may occupy, in bytes, before the oldest go early. None: as much as the server
    /// gives.
    pub max_bytes: Option<u64>,
    /// Whether the stream is made and brought into step with these settings. Else it is the
    /// operator's own: only checked.
    pub manage: bool,
    /// Longest wait for the answer to a publish or any other request. 5 s.
    pub request_timeout: Duration,
    /// Longest pause between attempts to connect again. 60 s.
    pub longest_pause: Duration,
    /// After how long the server hands a message out again that nobody acknowledged or said to be
    /// working on. 30 s; what is in hand is extended three times as often.
    pub ack_wait: Duration,
    /// How often to see whether retention took what a consumer had not acknowledged. 30 s.
    pub gap_interval: Duration,
    /// Who is told of it. None: only the log.
    pub gaps: Option<mpsc::Sender<Gap>>,
}

/// Who a client is to a NATS server.
#[derive(Debug, Clone, Default)]
pub enum NatsLogin {
    /// Nobody in particular, or whom the client certificate names.
    #[default]
    Anonymous,
    /// A user with a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Hidden,
    },
    /// A token.
    Token(Hidden),
    /// The seed of an nkey, `SU…`.
    Nkey(Hidden),
    /// A `.creds` file: JWT and seed.
    Credentials(PathBuf),
}

impl NatsLogin {
    /// What to look at when a server does not accept it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Anonymous => {
                "give --nats-creds, --nats-nkey, or --nats-user with DECNET_NATS_PASSWORD"
            }
            Self::Password { .. } => {
                "check --nats-user and DECNET_NATS_PASSWORD, or user and password in --bus"
            }
            Self::Token(_) => "check the token in --bus",
            Self::Nkey(_) => {
                "check --nats-nkey: it must hold the seed of a user that the server knows"
            }
            Self::Credentials(_) => {
                "check --nats-creds: its user must be of an account that the server knows, and not have expired"
            }
        }
    }
}

/// A text that neither logs nor errors show.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl JetStreamConfig {
    /// The defaults named at each field, for servers given as URLs that are parted by commas.
    pub fn parse(urls: &str) -> Result<Self, BusError> {
        let mut servers = Vec::new();
        let mut login = NatsLogin::Anonymous;
        for text in urls.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            // The text may hold a password: it is not shown.
            let wrong = || BusError::NatsUrl(text.split_once("://").unwrap_or((text, "")).0.into());
            let url = Url::parse(text).map_err(|_| wrong())?;
            let host = url.host_str().filter(|host| !host.is_empty());
            let (true, Some(host)) = (matches!(url.scheme(), "nats" | "tls"), host) else {
                return Err(wrong());
            };
            if !matches!(url.path(), "" | "/") || url.query().is_some() {
                return Err(wrong());
            }
            let port = url.port().unwrap_or(PORT);
            servers.push(format!("{}://{host}:{port}", url.scheme()));
            if !url.username().is_empty() {
                login = login_of(&url).ok_or_else(wrong)?;
            }
        }
        if servers.is_empty() {
            return Err(BusError::NatsUrl(String::new()));
        }
        let root = |root: &&str| TopicPattern::parse(&format!("{root}.>"));
        Ok(Self {
            servers,
            login,
            ca: None,
            client_certificate: None,
            stream: "DECNET".to_owned(),
            subjects: topics::ROOTS.iter().flat_map(root).collect(),
            replicas: 1,
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_bytes: None,
            manage: true,
            request_timeout: Duration::from_secs(5),
            longest_pause: Duration::from_secs(60),
            ack_wait: Duration::from_secs(30),
            gap_interval: Duration::from_secs(30),
            gaps: None,
        })
    }

    /// The servers as logs and errors name them.
    pub fn shown_servers(&self) -> String {
        self.servers.join(",")
    }
}

/// `user:password@`, or a lone token, each percent-encoded where it must be.
fn login_of(url: &Url) -> Option<NatsLogin> {
    let user = decoded(url.username())?;
    Some(match url.password() {
        Some(password) => NatsLogin::Password {
            user,
            password: Hidden(decoded(password)?),
        },
        None => NatsLogin::Token(Hidden(user)),
    })
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_and_no_secret_shown() {
        let config = JetStreamConfig::parse("nats://ann:p%40ss@a, tls://[::1]:4333").unwrap();
        assert_eq!(config.servers, ["nats://a:4222", "tls://[::1]:4333"]);
        let NatsLogin::Password { user, password } = &config.login else {
            panic!("{:?}", config.login);
        };
        assert_eq!((user.as_str(), password.expose()), ("ann", "p@ss"));
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("p@ss") && !shown.contains("p%40ss"),
            "{shown}"
        );
        assert_eq!(config.subjects.len(), topics::ROOTS.len());
        let token = JetStreamConfig::parse("nats://t0ken@a").unwrap();
        assert!(matches!(token.login, NatsLogin::Token(token) if token.expose() == "t0ken"));
    }

    #[test]
    fn what_is_no_server_says_so_without_its_password() {
        for text in [
            "",
            "nats://",
            "http://a",
            "nats://u:hunter2@a/path",
            "a:4222",
            "nats://u:%zz@a",
        ] {
            let error = JetStreamConfig::parse(text).unwrap_err().to_string();
            assert!(error.contains("nats://host:4222"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
