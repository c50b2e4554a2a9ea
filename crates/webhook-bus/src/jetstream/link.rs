//! The connection: opened once, kept for ever, its coming and going told once each.

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, rustls};
use tokio::sync::watch;

use super::{
    config::{JetStreamConfig, NatsLogin},
    reconnect::pause,
};
use crate::{BusError, Cause, journal::lock};

/// A server that is silent for two of these is taken for gone.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait for one server to greet; the next attempt follows.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Most messages of one subscription that wait to be read; consumers ask for far fewer, a watch
/// skips what is beyond.
const SUBSCRIPTION_MESSAGES: usize = 4_096;

/// A connection that comes back by itself.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    shown: String,
    pub(super) wait: Duration,
    line: Arc<Line>,
}

/// What is known of the connection at this moment.
#[derive(Debug)]
struct Line {
    shown: String,
    up: watch::Sender<bool>,
    /// Counts how often it came: a short outage may begin and end between two looks at `up`.
    comings: watch::Sender<u64>,
    /// Whether somebody was told that it is away.
    told: Mutex<bool>,
    /// What the last attempt came to.
    last: Mutex<Option<String>>,
}

impl Link {
    /// Connects; where nobody can be reached it goes on trying.
    pub(super) async fn open(config: &JetStreamConfig) -> Result<Self, BusError> {
        let shown = config.shown_servers();
        let line = Arc::new(Line {
            shown: shown.clone(),
            up: watch::Sender::new(false),
            comings: watch::Sender::new(0),
            told: Mutex::new(false),
            last: Mutex::new(None),
        });
        let connect = async |retry: bool| {
            let options = options(config, &line).await?;
            let options = if retry {
                options.retry_on_initial_connect()
            } else {
                options
            };
            Ok::<_, BusError>(options.connect(config.servers.clone()).await)
        };
        let client = match connect(false).await? {
            Ok(client) => {
                // The event of it may not have been handled yet.
                line.up.send_replace(true);
                client
            }
            Err(error) => {
                let kind = if is_tls(&error) {
                    ConnectErrorKind::Tls
                } else {
                    error.kind()
                };
                let source: Cause = Arc::new(error);
                match kind {
                    ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                        return Err(BusError::NatsLogin {
                            servers: shown,
                            remedy: config.login.remedy(),
                            source,
                        });
                    }
                    ConnectErrorKind::Tls => {
                        return Err(BusError::NatsTls {
                            servers: shown,
                            source,
                        });
                    }
                    ConnectErrorKind::ServerParse => {
                        return Err(BusError::NatsUrl(shown));
                    }
                    _ => {}
                }
                tracing::warn!(servers = %shown, error = %source, "cannot reach NATS; trying again until it is there");
                *lock(&line.told) = true;
                *lock(&line.last) = Some(source.to_string());
                connect(true).await?.map_err(|error| BusError::NatsAway {
                    servers: shown.clone(),
                    why: error.to_string(),
                })?
            }
        };
        Ok(Self {
            client,
            shown,
            wait: config.request_timeout,
            line,
        })
    }

    /// Whether the connection is there, and its changes.
    pub(super) fn up(&self) -> watch::Receiver<bool> {
        self.line.up.subscribe()
    }

    /// Changes whenever the connection comes.
    pub(super) fn comings(&self) -> watch::Receiver<u64> {
        self.line.comings.subscribe()
    }

    pub(super) fn is_up(&self) -> bool {
        *self.line.up.borrow()
    }

    /// Waits for the connection, for as long as a request may take.
    pub(super) async fn ready(&self) -> Result<(), BusError> {
        let mut up = self.up();
        let came = tokio::time::timeout(self.wait, up.wait_for(|up| *up)).await;
        match came {
            Ok(_) => Ok(()),
            Err(_) => Err(self.away()),
        }
    }

    /// Why nothing can be asked now.
    pub(super) fn away(&self) -> BusError {
        BusError::NatsAway {
            servers: self.shown.clone(),
            why: lock(&self.line.last)
                .clone()
                .unwrap_or_else(|| "the connection was lost".into()),
        }
    }

    /// An answer that did not come.
    pub(super) fn silent(&self, doing: &'static str) -> BusError {
        BusError::NatsSilent {
            servers: self.shown.clone(),
            doing,
        }
    }

    /// An answer that is none.
    pub(super) fn garbled(&self, doing: &'static str, what: impl Into<String>) -> BusError {
        BusError::NatsGarbled {
            servers: self.shown.clone(),
            doing,
            what: what.into(),
        }
    }

    /// A NATS that knows no JetStream.
    pub(super) fn no_jetstream(&self) -> BusError {
        BusError::NoJetStream(self.shown.clone())
    }
}

impl Line {
    fn heard(&self, event: Event) {
        match event {
            Event::Connected => {
                *lock(&self.last) = None;
                if std::mem::take(&mut *lock(&self.told)) {
                    tracing::info!(servers = %self.shown, "NATS is back");
                }
                self.up.send_replace(true);
                self.comings.send_modify(|count| *count += 1);
            }
            Event::Disconnected => {
                self.up.send_replace(false);
                if !std::mem::replace(&mut *lock(&self.told), true) {
                    tracing::warn!(servers = %self.shown, "the connection to NATS was lost; trying again until it is back");
                }
            }
            Event::ServerError(error) => *lock(&self.last) = Some(error.to_string()),
            Event::ClientError(error) => *lock(&self.last) = Some(error.to_string()),
            Event::SlowConsumer(_) => {
                tracing::warn!("a subscription is not read fast enough and skips messages");
            }
            _ => {}
        }
    }
}

/// Whether TLS is what failed; a certificate that is not trusted comes as an I/O error.
fn is_tls(error: &ConnectError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|it| it.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

async fn options(config: &JetStreamConfig, line: &Arc<Line>) -> Result<ConnectOptions, BusError> {
    let (servers, longest) = (config.servers.len(), config.longest_pause);
    let line = line.clone();
    let mut options = ConnectOptions::new()
        .name("decnet")
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_WAIT)
        .request_timeout(Some(config.request_timeout))
        .subscription_capacity(SUBSCRIPTION_MESSAGES)
        .reconnect_delay_callback(move |attempt| pause(attempt, servers, longest, rand::random()))
        .event_callback(move |event| {
            line.heard(event);
            std::future::ready(())
        });
    options = match &config.login {
        NatsLogin::Anonymous => options,
        NatsLogin::Password { user, password } => {
            options.user_and_password(user.clone(), password.expose().to_owned())
        }
        NatsLogin::Token(token) => options.token(token.expose().to_owned()),
        NatsLogin::Nkey(seed) => options.nkey(seed.expose().to_owned()),
        NatsLogin::Credentials(path) => {
            let read = options.credentials_file(path).await;
            read.map_err(|error| BusError::NatsCredentials {
                path: path.clone(),
                source: Arc::new(error),
            })?
        }
    };
    if let Some(ca) = &config.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = &config.client_certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    // A server may offer TLS of its own accord; a certificate of ours means that it must.
    let must = config.ca.is_some() || config.client_certificate.is_some();
    Ok(options.require_tls(must))
}
