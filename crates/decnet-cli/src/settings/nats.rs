//! What `--bus nats://…` needs besides: the stream, and who we are to the server.

use std::{fs, path::PathBuf, time::Duration};

use webhook_bus::{Hidden, JetStreamConfig, NatsLogin};
use webhook_model::TopicPattern;

use super::env::{Env, SettingError, parse_setting};

/// The NATS bus and its JetStream stream.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "NATS options")]
pub(crate) struct NatsOptions {
    /// Stream that keeps the events [env: DECNET_NATS_STREAM; default: DECNET]
    #[arg(long, value_name = "NAME")]
    nats_stream: Option<String>,
    /// What the stream captures, parted by commas [env: DECNET_NATS_SUBJECTS; default: DECNET's
    /// roots, `attacker.>` and so on]
    #[arg(long, value_name = "PATTERNS")]
    nats_subjects: Option<String>,
    /// On how many servers the stream is kept [env: DECNET_NATS_REPLICAS; default: 1]
    #[arg(long, value_name = "N")]
    nats_replicas: Option<String>,
    /// How long events stay, e.g. `7d` [env: DECNET_NATS_MAX_AGE; default: 7d]
    #[arg(long, value_name = "DURATION")]
    nats_max_age: Option<String>,
    /// How many bytes they may occupy [env: DECNET_NATS_MAX_BYTES; default: what the server gives]
    #[arg(long, value_name = "BYTES")]
    nats_max_bytes: Option<String>,
    /// Only check the stream: it is the operator's own [env: DECNET_NATS_MANAGE_STREAM=false]
    #[arg(long)]
    no_nats_manage_stream: bool,
    /// Credentials file, `.creds` [env: DECNET_NATS_CREDS]
    #[arg(long, value_name = "FILE")]
    nats_creds: Option<PathBuf>,
    /// User [env: DECNET_NATS_USER]; its password comes from DECNET_NATS_PASSWORD or
    /// DECNET_NATS_PASSWORD_FILE
    #[arg(long, value_name = "USER")]
    nats_user: Option<String>,
    /// File with the seed of our nkey [env: DECNET_NATS_NKEY_FILE, or the seed in DECNET_NATS_NKEY]
    #[arg(long, value_name = "FILE")]
    nats_nkey: Option<PathBuf>,
    /// Certificate authority of the servers, PEM [env: DECNET_NATS_CA; default: the system's]
    #[arg(long, value_name = "FILE")]
    nats_ca: Option<PathBuf>,
    /// Our client certificate, PEM [env: DECNET_NATS_CERT]
    #[arg(long, value_name = "FILE")]
    nats_cert: Option<PathBuf>,
    /// Its key, PEM [env: DECNET_NATS_KEY]
    #[arg(long, value_name = "FILE")]
    nats_key: Option<PathBuf>,
}

impl NatsOptions {
    /// The configuration for these servers; `name` is where their URL came from.
    pub(super) fn config(
        &self,
        env: Env<'_>,
        name: &str,
        urls: &str,
    ) -> Result<JetStreamConfig, SettingError> {
        let mut config = JetStreamConfig::parse(urls).map_err(|error| SettingError::Secret {
            name: name.into(),
            problem: "names no NATS server".into(),
            remedy: error.to_string(),
        })?;
        if let Some((name, stream)) = text(env, self.nats_stream.as_deref(), STREAM)? {
            let is_name =
                |text: &str| !text.is_empty() && !text.contains(['.', '*', '>', '/', '\\', ' ']);
            config.stream = parse_setting(
                name,
                &stream,
                "a stream's name",
                "use letters, digits, - and _, e.g. DECNET",
                |text| is_name(text).then(|| text.to_owned()),
            )?;
        }
        if let Some((name, subjects)) = text(env, self.nats_subjects.as_deref(), SUBJECTS)? {
            let wanted = "patterns parted by commas";
            config.subjects = parse_setting(
                name,
                &subjects,
                wanted,
                "e.g. attacker.>,system.>",
                |text| {
                    let all = text
                        .split(',')
                        .map(|it| TopicPattern::parse(it.trim()).ok());
                    all.collect::<Option<Vec<_>>>()
                },
            )?;
        }
        if let Some((name, replicas)) = text(env, self.nats_replicas.as_deref(), REPLICAS)? {
            config.replicas = parse_setting(
                name,
                &replicas,
                "a number 1..5",
                "use 3 on a cluster of three",
                |text| text.parse().ok().filter(|count| (1..=5).contains(count)),
            )?;
        }
        if let Some((name, age)) = text(env, self.nats_max_age.as_deref(), MAX_AGE)? {
            config.max_age = parse_setting(
                name,
                &age,
                "a duration of a second or more",
                "e.g. 7d or 36h",
                |text| {
                    humantime::parse_duration(text)
                        .ok()
                        .filter(|age| *age >= Duration::from_secs(1))
                },
            )?;
        }
        if let Some((name, bytes)) = text(env, self.nats_max_bytes.as_deref(), MAX_BYTES)? {
            let bytes = parse_setting(
                name,
                &bytes,
                "a number of bytes",
                "e.g. 8589934592",
                |text| text.parse().ok().filter(|&bytes| bytes > 0),
            )?;
            config.max_bytes = Some(bytes);
        }
        let managed = env.flag("DECNET_NATS_MANAGE_STREAM")?.unwrap_or(true);
        config.manage = managed && !self.no_nats_manage_stream;
        if let Some(login) = self.login(env)? {
            config.login = login;
        }
        config.ca = file(env, self.nats_ca.as_ref(), ("--nats-ca", "DECNET_NATS_CA"))?;
        let cert = file(
            env,
            self.nats_cert.as_ref(),
            ("--nats-cert", "DECNET_NATS_CERT"),
        )?;
        let key = file(
            env,
            self.nats_key.as_ref(),
            ("--nats-key", "DECNET_NATS_KEY"),
        )?;
        config.client_certificate = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => {
                return Err(SettingError::Secret {
                    name: "--nats-cert".into(),
                    problem: "and --nats-key belong together".into(),
                    remedy: "give both, or neither".into(),
                });
            }
        };
        if let Some(longest) = super::server::reconnect_pause(env)? {
            config.longest_pause = longest;
        }
        Ok(config)
    }

    /// Who we are, if more is said than in the URL.
    fn login(&self, env: Env<'_>) -> Result<Option<NatsLogin>, SettingError> {
        let creds = ("--nats-creds", "DECNET_NATS_CREDS");
        if let Some(path) = file(env, self.nats_creds.as_ref(), creds)? {
            return Ok(Some(NatsLogin::Credentials(path)));
        }
        let seed = match &self.nats_nkey {
            Some(path) => {
                let seed = fs::read_to_string(path).map_err(|source| SettingError::File {
                    name: "--nats-nkey".into(),
                    path: path.clone(),
                    source,
                })?;
                Some(seed.trim().to_owned())
            }
            None => env.secret("DECNET_NATS_NKEY")?,
        };
        if let Some(seed) = seed {
            return Ok(Some(NatsLogin::Nkey(Hidden::new(seed))));
        }
        let Some((_, user)) = text(env, self.nats_user.as_deref(), USER)? else {
            return Ok(None);
        };
        match env.secret("DECNET_NATS_PASSWORD")? {
            Some(password) => Ok(Some(NatsLogin::Password {
                user,
                password: Hidden::new(password),
            })),
            None => Err(SettingError::Secret {
                name: "DECNET_NATS_PASSWORD".into(),
                problem: "is not set, and a NATS user is".into(),
                remedy: "set it, or DECNET_NATS_PASSWORD_FILE".into(),
            }),
        }
    }
}

/// A setting's flag and variable.
type Names = (&'static str, &'static str);

const STREAM: Names = ("--nats-stream", "DECNET_NATS_STREAM");
const SUBJECTS: Names = ("--nats-subjects", "DECNET_NATS_SUBJECTS");
const REPLICAS: Names = ("--nats-replicas", "DECNET_NATS_REPLICAS");
const MAX_AGE: Names = ("--nats-max-age", "DECNET_NATS_MAX_AGE");
const MAX_BYTES: Names = ("--nats-max-bytes", "DECNET_NATS_MAX_BYTES");
const USER: Names = ("--nats-user", "DECNET_NATS_USER");

/// The flag, else the variable, with the name of the one that counts.
fn text(
    env: Env<'_>,
    flag: Option<&str>,
    names: Names,
) -> Result<Option<(&'static str, String)>, SettingError> {
    match flag {
        Some(text) => Ok(Some((names.0, text.to_owned()))),
        None => Ok(env.text(names.1)?.map(|text| (names.1, text))),
    }
}

/// A file that can be read, from the flag, else the variable.
fn file(
    env: Env<'_>,
    flag: Option<&PathBuf>,
    names: Names,
) -> Result<Option<PathBuf>, SettingError> {
    let (name, path) = match flag {
        Some(path) => (names.0, Some(path.clone())),
        None => (names.1, env.path(names.1)),
    };
    let Some(path) = path else { return Ok(None) };
    // A folder can be opened, too.
    match fs::read(&path) {
        Ok(_) => Ok(Some(path)),
        Err(source) => Err(SettingError::File {
            name: name.into(),
            path,
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: [(&'static str, &str); 4]) -> Result<JetStreamConfig, String> {
        let config = NatsOptions::default().config(Env(&vars), "--bus", "nats://a,nats://b:5");
        config.map_err(|error| error.to_string())
    }

    const NONE: (&str, &str) = ("X", "");

    #[test]
    fn variables_reach_the_bus() {
        let config = read([
            ("DECNET_NATS_SUBJECTS", "attacker.>, system.>"),
            ("DECNET_NATS_MAX_AGE", "36h"),
            ("DECNET_NATS_REPLICAS", "3"),
            ("DECNET_NATS_MANAGE_STREAM", "false"),
        ])
        .unwrap();
        assert_eq!(config.servers, ["nats://a:4222", "nats://b:5"]);
        assert_eq!(config.subjects.len(), 2);
        assert_eq!(config.max_age, Duration::from_secs(36 * 3600));
        assert_eq!((config.replicas, config.manage), (3, false));
        let vars = [
            ("DECNET_NATS_USER", "ann"),
            ("DECNET_NATS_PASSWORD", "hunter2"),
            ("DECNET_WEBHOOK_BUS_RECONNECT_SECS", "7"),
            NONE,
        ];
        let config = read(vars).unwrap();
        assert_eq!(config.longest_pause, Duration::from_secs(7));
        let shown = format!("{config:?}");
        assert!(
            shown.contains("ann") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value) in [
            ("DECNET_NATS_STREAM", "a.b"),
            ("DECNET_NATS_SUBJECTS", "a..b"),
            ("DECNET_NATS_REPLICAS", "7"),
            ("DECNET_NATS_MAX_AGE", "soon"),
            ("DECNET_NATS_MAX_BYTES", "0"),
        ] {
            let error = read([(name, value), NONE, NONE, NONE]).unwrap_err();
            assert!(
                error.starts_with(&format!("{name}={value:?} is not ")),
                "{error}"
            );
        }
        let error = read([("DECNET_NATS_CA", "/no/such.pem"), NONE, NONE, NONE]).unwrap_err();
        assert!(error.contains("/no/such.pem"), "{error}");
        let error = read([("DECNET_NATS_USER", "ann"), NONE, NONE, NONE]).unwrap_err();
        assert!(error.contains("DECNET_NATS_PASSWORD"), "{error}");
    }
}
