//! What `DECNET_BUS_URL` and `--bus` may say.

use std::{
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use webhook_bus::JetStreamConfig;

use super::{
    DataDir, NatsOptions,
    decnet::BROKER_UNIT,
    env::{Env, SettingError},
};

const URL: &str = "DECNET_BUS_URL";
/// DECNET's own names.
const SOCKET: &str = "DECNET_BUS_SOCKET";
const TYPE: &str = "DECNET_BUS_TYPE";
/// Longest path of a Unix socket on Linux, without the zero at its end (`sun_path`).
const MAX_SOCKET_PATH: usize = 107;

/// The bus to use.
#[derive(Debug, Clone)]
pub(crate) enum BusChoice {
    /// `DECNET_BUS_ENABLED=false`: the worker stays up and idle.
    Disabled,
    /// The journal in the data directory.
    Embedded {
        /// Where other programs reach it over DECNET's socket protocol.
        socket: PathBuf,
    },
    /// An existing DECNET broker, drained into the journal in the data directory.
    Broker {
        /// The broker's socket.
        path: PathBuf,
        /// Where other programs reach the journal.
        socket: PathBuf,
    },
    /// A stream on NATS.
    Nats(Box<JetStreamConfig>),
}

impl BusChoice {
    /// The flag, else the variables of contract §4, else `embedded`.
    pub(crate) fn read(
        env: Env<'_>,
        flag: Option<&str>,
        nats: &NatsOptions,
        data_dir: &DataDir,
    ) -> Result<Self, SettingError> {
        let parse = |name: &str, url: &str| {
            let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
            match scheme {
                "nats" | "tls" => {
                    let config = nats.config(env, name, url)?;
                    Ok(Self::Nats(Box::new(config)))
                }
                _ => parse(name, url, data_dir),
            }
        };
        if env.decnet_flag("DECNET_BUS_ENABLED")? == Some(false) {
            return Ok(Self::Disabled);
        }
        match Named::read(env, flag)? {
            Named::Url(name, url) => parse(&name, &url),
            Named::Socket(name, path) => broker(&name, &path, data_dir),
            Named::Nothing => parse("DECNET_BUS_URL", "embedded"),
        }
    }

    /// Who says which bus it is, for people; nobody where it is the default.
    pub(crate) fn origin(
        &self,
        env: Env<'_>,
        flag: Option<&str>,
    ) -> Result<Option<String>, SettingError> {
        if matches!(self, Self::Disabled) {
            return Ok(Some(env.label("DECNET_BUS_ENABLED")));
        }
        Ok(match Named::read(env, flag)? {
            Named::Url(name, _) | Named::Socket(name, _) => Some(name),
            Named::Nothing => None,
        })
    }
}

/// Which bus is named, and by what.
enum Named {
    Url(String, String),
    /// A broker's.
    Socket(String, PathBuf),
    Nothing,
}

impl Named {
    /// The flag, the variables, DECNET's own broker where that is installed.
    fn read(env: Env<'_>, flag: Option<&str>) -> Result<Self, SettingError> {
        if let Some(url) = flag {
            return Ok(Self::Url("--bus".into(), url.into()));
        }
        if let Some(url) = env.secret(URL)? {
            return Ok(Self::Url(env.label(URL), url));
        }
        let is_fake = env.text(TYPE)?.as_deref() == Some("fake");
        if let Some(path) = env.path(SOCKET).filter(|_| !is_fake) {
            return Ok(Self::Socket(env.label(SOCKET), path));
        }
        let Some(decnet) = env.0.decnet() else {
            return Ok(Self::Nothing);
        };
        match decnet.socket() {
            Some(path) if !is_fake => Ok(Self::Socket(BROKER_UNIT.into(), path.into())),
            _ => Err(SettingError::NoWay {
                what: "bus",
                evidence: if is_fake {
                    format!("{}=fake", env.label(TYPE))
                } else {
                    decnet.evidence()
                },
                remedy: "set DECNET_BUS_SOCKET to its broker's socket, e.g. /run/decnet/bus.sock, \
                         or DECNET_BUS_URL=embedded for a bus of this program's own"
                    .into(),
            }),
        }
    }
}

impl fmt::Display for BusChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("disabled (DECNET_BUS_ENABLED=false)"),
            Self::Embedded { socket } => write!(f, "embedded, socket {}", socket.display()),
            Self::Broker { path, socket } => write!(
                f,
                "DECNET's broker at {}, kept here, socket {}",
                path.display(),
                socket.display()
            ),
            Self::Nats(config) => {
                write!(f, "{}, stream {}", config.shown_servers(), config.stream)
            }
        }
    }
}

fn parse(name: &str, url: &str, data_dir: &DataDir) -> Result<BusChoice, SettingError> {
    // A NATS URL may carry a password: only its scheme is ever shown.
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    match scheme {
        "embedded" if rest.is_empty() => embedded(name, &data_dir.socket()),
        "embedded" if rest.starts_with('/') => embedded(name, Path::new(rest)),
        "unix" if rest.starts_with('/') => broker(name, Path::new(rest), data_dir),
        _ => Err(SettingError::Invalid {
            name: name.into(),
            value: format!("{scheme}{}", if rest.is_empty() { "" } else { "://…" }),
            expected: "a bus".into(),
            remedy: "use `embedded`, `embedded:///path/of/the.sock` for another socket, `unix:///path/of/the.sock` for a DECNET broker, or `nats://host:4222`".into(),
        }),
    }
}

fn embedded(name: &str, socket: &Path) -> Result<BusChoice, SettingError> {
    let shorter = "set DECNET_BUS_URL=embedded:///a/shorter/path.sock";
    fits(name, "embedded", socket, shorter)?;
    Ok(BusChoice::Embedded {
        socket: socket.into(),
    })
}

fn broker(name: &str, path: &Path, data_dir: &DataDir) -> Result<BusChoice, SettingError> {
    let invalid = |expected: &str, remedy: &str| SettingError::Invalid {
        name: name.into(),
        value: format!("unix://{}", path.display()),
        expected: expected.into(),
        remedy: remedy.into(),
    };
    let socket = data_dir.socket();
    if !path.is_absolute() {
        let remedy = "write all of it, e.g. /run/decnet/bus.sock";
        return Err(invalid("the path of a broker's socket", remedy));
    }
    if path == socket {
        let remedy = "name DECNET's own socket, e.g. /run/decnet/bus.sock, or use `embedded`";
        return Err(invalid(
            "another program's socket: this server serves it",
            remedy,
        ));
    }
    fits(
        name,
        "unix",
        path,
        "have the broker listen at a shorter path",
    )?;
    fits(
        name,
        "embedded",
        &socket,
        "set DECNET_DATA_DIR to a shorter path",
    )?;
    Ok(BusChoice::Broker {
        path: path.into(),
        socket,
    })
}

/// A socket's path is limited by the system.
fn fits(name: &str, scheme: &str, socket: &Path, remedy: &str) -> Result<(), SettingError> {
    let bytes = socket.as_os_str().as_bytes().len();
    if bytes <= MAX_SOCKET_PATH {
        return Ok(());
    }
    Err(SettingError::Invalid {
        name: name.into(),
        value: format!("{scheme}://{}", socket.display()),
        expected: format!("a socket path of at most {MAX_SOCKET_PATH} bytes (it has {bytes})"),
        remedy: remedy.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bus as the banner names it.
    fn read(vars: [(&'static str, &str); 3], flag: Option<&str>) -> Result<String, String> {
        let (nats, data_dir) = (NatsOptions::default(), DataDir::at("/data".into()));
        BusChoice::read(Env(&vars), flag, &nats, &data_dir)
            .map(|bus| bus.to_string())
            .map_err(|error| error.to_string())
    }

    fn embedded_at(socket: &str) -> Result<String, String> {
        Ok(format!("embedded, socket {socket}"))
    }

    const NONE: (&str, &str) = ("X", "");

    #[test]
    fn embedded_is_the_default_and_takes_a_socket() {
        assert_eq!(read([NONE; 3], None), embedded_at("/data/bus.sock"));
        assert_eq!(
            read([NONE; 3], Some("embedded")),
            embedded_at("/data/bus.sock")
        );
        assert_eq!(
            read([NONE; 3], Some("embedded:///run/d.sock")),
            embedded_at("/run/d.sock")
        );
        let vars = [("DECNET_BUS_URL", "embedded:///run/e.sock"), NONE, NONE];
        assert_eq!(read(vars, None), embedded_at("/run/e.sock"));
    }

    #[test]
    fn disabled_comes_first() {
        let vars = [
            ("DECNET_BUS_ENABLED", "False"),
            ("DECNET_BUS_URL", "nats://n"),
            NONE,
        ];
        let disabled = read(vars, None).unwrap();
        assert!(disabled.starts_with("disabled"), "{disabled}");
        // As for DECNET, only `true` is true.
        for off in ["maybe", "1", "yes"] {
            let disabled = read([("DECNET_BUS_ENABLED", off), NONE, NONE], None).unwrap();
            assert!(disabled.starts_with("disabled"), "{disabled}");
        }
        let enabled = read([("DECNET_BUS_ENABLED", "TRUE"), NONE, NONE], None);
        assert_eq!(enabled, embedded_at("/data/bus.sock"));
    }

    #[test]
    fn other_buses_are_refused_in_one_sentence_without_their_password() {
        let error = read([NONE; 3], Some("nats://user:hunter2@n/path")).unwrap_err();
        assert!(error.starts_with("--bus names no NATS server"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let error = read([NONE; 3], Some("amqp://user:hunter2@n")).unwrap_err();
        assert!(error.contains("--bus=\"amqp://…\""), "{error}");
        let error = read([NONE; 3], Some("embedded://relative")).unwrap_err();
        assert!(error.contains("embedded:///path"), "{error}");
    }

    #[test]
    fn a_broker_comes_by_url_or_by_decnets_own_variable() {
        let at = |path: &str| {
            Ok(format!(
                "DECNET's broker at {path}, kept here, socket /data/bus.sock"
            ))
        };
        assert_eq!(read([NONE; 3], Some("unix:///run/x")), at("/run/x"));
        let vars = [("DECNET_BUS_SOCKET", "/run/decnet/bus.sock"), NONE, NONE];
        assert_eq!(read(vars, None), at("/run/decnet/bus.sock"));
        let vars = [vars[0], ("DECNET_BUS_URL", "embedded"), NONE];
        assert_eq!(read(vars, None), embedded_at("/data/bus.sock"));
        for url in ["unix://relative", "unix:///data/bus.sock"] {
            let error = read([NONE; 3], Some(url)).unwrap_err();
            assert!(
                error.starts_with(&format!("--bus={url:?} is not ")) || url.ends_with("relative"),
                "{error}"
            );
        }
    }

    #[test]
    fn nats_is_named_without_its_password() {
        let bus = read([NONE; 3], Some("nats://user:hunter2@n,tls://m:1")).unwrap();
        assert_eq!(bus, "nats://n:4222,tls://m:1, stream DECNET");
    }

    #[test]
    fn a_long_socket_path_says_so_before_anything_starts() {
        let long = format!("embedded:///{}", "x".repeat(120));
        let error = read([NONE; 3], Some(&long)).unwrap_err();
        assert!(error.contains("at most 107 bytes (it has 121)"), "{error}");
    }
}
