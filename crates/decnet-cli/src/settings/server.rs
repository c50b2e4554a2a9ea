//! What `serve`, `api` and `webhook` are started with.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use ipnet::IpNet;
use webhook_api::PublishQuota;
use webhook_delivery::{DeliveryConfig, EgressPolicy};
use webhook_store::{DatabaseConfig, DeadBytes, database_file};
use webhook_worker::WorkerConfig;

use super::{
    BusChoice, DataDir, Descriptors, EmbeddedOptions, EmbeddedSettings, Env, NatsOptions, Nothing,
    SettingError, cors,
    decnet::{self, Installation},
    kept::Kept,
    parse_setting,
    roots::extra_roots,
};

const DATABASE_URL: &str = "DECNET_DATABASE_URL";
/// The longest pause that may be set: who waits for a day has given up.
const LONGEST_PAUSE_SECS: f64 = 86_400.0;

/// Where data lives and events come from.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct StorageOptions {
    /// Directory for everything that is kept [env: DECNET_DATA_DIR; default: /var/lib/decnet where
    /// it can be written, else the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Database: `sqlite:///path` or `postgres://user:password@host/database`
    /// [env: DECNET_DATABASE_URL; default: decnet.db in the data directory]
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// Bus: `embedded`, `embedded:///path` to serve its socket elsewhere, `unix:///path` to drain an
    /// existing DECNET broker, or NATS servers parted by commas, `nats://host:4222` or `tls://…`
    /// [env: DECNET_BUS_URL; default: unix:// + DECNET_BUS_SOCKET where that is set, else embedded]
    #[arg(long, value_name = "URL")]
    pub(crate) bus: Option<String>,
    #[command(flatten)]
    pub(crate) embedded: EmbeddedOptions,
    #[command(flatten)]
    pub(crate) nats: NatsOptions,
}

/// The same for those who may make the database.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct ServerStorageOptions {
    #[command(flatten)]
    pub(crate) storage: StorageOptions,
    /// Make the database that is named and its tables where they are missing. Without it a named file
    /// has to be there, and tables that DECNET is to make are waited for
    #[arg(long)]
    pub(crate) create: bool,
}

/// The same, read.
#[derive(Debug)]
pub(crate) struct StorageSettings {
    pub(crate) data_dir: DataDir,
    pub(crate) database: DatabaseConfig,
    pub(crate) bus: BusChoice,
}

impl StorageSettings {
    /// Flags first, then variables, then what belongs to the data directory.
    pub(crate) fn read(
        env: Env<'_>,
        options: &StorageOptions,
        data_dir: DataDir,
    ) -> Result<Self, SettingError> {
        Ok(Self {
            database: database(env, options.database_url.as_deref(), &data_dir)?,
            bus: BusChoice::read(env, options.bus.as_deref(), &options.nats, &data_dir)?,
            data_dir,
        })
    }
}

/// Where the API listens.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct HttpOptions {
    /// Address or name to listen on [env: DECNET_API_HOST; default: 127.0.0.1]
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Port to listen on; 0 takes a free one [env: DECNET_API_PORT; default: 8000]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
}

/// How the worker runs.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct WorkerOptions {
    /// Start although another worker's heartbeat is heard (that one must be gone: two workers send
    /// everything twice). On a DECNET broker it is ordered to stop, and this one begins with the event
    /// after that order [env: DECNET_WEBHOOK_TAKEOVER]
    #[arg(long)]
    pub(crate) takeover: bool,
}

/// What every server needs, whichever parts of it run.
#[derive(Debug)]
pub(crate) struct ServerSettings {
    pub(crate) data_dir: DataDir,
    pub(crate) database: DatabaseConfig,
    pub(crate) bus: BusChoice,
    pub(crate) embedded: EmbeddedSettings,
    pub(crate) delivery: DeliveryConfig,
    pub(crate) worker: WorkerConfig,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Pages from these origins may call the API.
    pub(crate) cors_origins: Vec<String>,
    pub(crate) origins: Origins,
    pub(crate) publish_quota: PublishQuota,
    pub(crate) open_metrics: bool,
    pub(crate) descriptors: Descriptors,
}

/// Where settings came from, for people; none is a default.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    pub(crate) database: Option<String>,
    pub(crate) bus: Option<String>,
    /// Variables that files of DECNET's set, and which.
    pub(crate) borrowed: Vec<(String, PathBuf)>,
}

impl ServerSettings {
    /// Flags first, then variables, then defaults.
    pub(crate) fn read(
        env: Env<'_>,
        storage: &ServerStorageOptions,
        http: &HttpOptions,
        worker: &WorkerOptions,
    ) -> Result<Self, SettingError> {
        let ServerStorageOptions { storage, create } = storage;
        for complaint in env
            .0
            .decnet()
            .into_iter()
            .flat_map(Installation::complaints)
        {
            tracing::warn!("{complaint}");
        }
        warn_of_proxies(env);
        let data_dir = DataDir::for_server(env, storage.data_dir.as_deref())?;
        let named = database_origin(env, storage.database_url.as_deref());
        let mut database = database(env, storage.database_url.as_deref(), &data_dir)?;
        if let Some(named) = named.as_ref().filter(|_| !create) {
            refuse_to_make(&named.by, &database)?;
            database.awaits_decnet = named.is_decnets || decnet::may_be_decnets(env, &database);
        }
        let bus = BusChoice::read(env, storage.bus.as_deref(), &storage.nats, &data_dir)?;
        let origins = Origins {
            database: named.map(|named| named.by),
            bus: bus.origin(env, storage.bus.as_deref())?,
            borrowed: env.0.borrowed(),
        };
        let (host, port) = listen_address(env, http)?;
        let descriptors = Descriptors::raise();
        Ok(Self {
            data_dir,
            database,
            bus,
            embedded: storage.embedded.read(env)?,
            delivery: DeliveryConfig {
                egress: egress(env)?,
                max_kept_connections: descriptors.kept_connections(),
                extra_roots: extra_roots(env)?,
                ..DeliveryConfig::default()
            },
            worker: WorkerConfig {
                max_open_requests: descriptors.open_requests(),
                ..worker_config(env, worker)?
            },
            host,
            port,
            cors_origins: cors::origins(env)?,
            origins,
            publish_quota: publish_quota(env)?,
            open_metrics: env.flag("DECNET_API_OPEN_METRICS")?.unwrap_or(false),
            descriptors,
        })
    }

    /// Where the API will be, where that is known before it is bound.
    pub(crate) fn api_addr(&self) -> Option<SocketAddr> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let host = host.parse().ok()?;
        (self.port != 0).then(|| SocketAddr::new(host, self.port))
    }

    /// For the demo: a free port on loopback, and one address that deliveries may go to.
    pub(crate) fn demo(data_dir: DataDir) -> Result<Self, SettingError> {
        let nothing = Env(&Nothing);
        let http = HttpOptions {
            host: None,
            port: Some(0),
        };
        let (host, port) = listen_address(nothing, &http)?;
        let loopback = IpNet::from(std::net::IpAddr::from([127, 0, 0, 1]));
        Ok(Self {
            database: database(nothing, None, &data_dir)?,
            bus: BusChoice::read(nothing, None, &NatsOptions::default(), &data_dir)?,
            embedded: EmbeddedSettings::default(),
            delivery: DeliveryConfig {
                egress: EgressPolicy::default().allow_cidrs(vec![loopback]),
                ..DeliveryConfig::default()
            },
            worker: WorkerConfig::default(),
            data_dir,
            host,
            port,
            cors_origins: Vec::new(),
            origins: Origins::default(),
            publish_quota: PublishQuota::default(),
            open_metrics: false,
            descriptors: Descriptors::raise(),
        })
    }
}

/// Host and port of the API; also where clients look when nothing says otherwise.
pub(crate) fn listen_address(
    env: Env<'_>,
    http: &HttpOptions,
) -> Result<(String, u16), SettingError> {
    let host = http.host.clone().or(env.text("DECNET_API_HOST")?);
    let port = env.parsed(
        "DECNET_API_PORT",
        "a port number 0..65535",
        "set it to a free port, e.g. 8000; 0 takes any free one",
        |text| text.parse().ok(),
    )?;
    Ok((
        host.unwrap_or_else(|| "127.0.0.1".into()),
        http.port.or(port).unwrap_or(8000),
    ))
}

/// Where `decnet webhook` serves health and metrics.
pub(crate) fn metrics_addr(
    env: Env<'_>,
    flag: Option<SocketAddr>,
) -> Result<SocketAddr, SettingError> {
    let variable = env.parsed(
        "DECNET_METRICS_ADDR",
        "an address with a port",
        "set it to e.g. 127.0.0.1:9464; port 0 takes any free one",
        |text| text.parse().ok(),
    )?;
    Ok(flag
        .or(variable)
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9464))))
}

fn database(
    env: Env<'_>,
    flag: Option<&str>,
    data_dir: &DataDir,
) -> Result<DatabaseConfig, SettingError> {
    let (name, url) = match (flag, env.secret(DATABASE_URL)?) {
        (Some(url), _) => ("--database-url", url.to_owned()),
        (None, Some(url)) => (DATABASE_URL, url),
        (None, None) if let Some(url) = decnet::database_url(env)? => ("", url),
        (None, None) => return Ok(DatabaseConfig::at(&data_dir.database())),
    };
    let config = DatabaseConfig::new(url);
    match config
        .url
        .split_once("://")
        .map(|(scheme, rest)| (scheme, !rest.is_empty()))
    {
        Some(("sqlite" | "postgres" | "postgresql" | "mysql" | "mariadb", true)) => Ok(config),
        // As SQLAlchemy has them, and so DECNET.
        Some((scheme, true)) if scheme.contains('+') => Err(SettingError::Invalid {
            name: name.into(),
            value: config.shown_url(),
            expected: "a database URL: it names a driver of Python's".into(),
            remedy: "leave the driver out, e.g. `mysql://` for `mysql+aiomysql://`".into(),
        }),
        _ => Err(SettingError::Invalid {
            name: name.into(),
            value: config.shown_url(),
            expected: "a database URL".into(),
            remedy: "use `sqlite:///path/to/decnet.db` or \
                     `postgres://user:password@host/database` (or the same with mysql), \
                     or leave it out"
                .into(),
        }),
    }
}

/// A database that somebody named.
struct NamedDatabase {
    /// By what, for people.
    by: String,
    /// By DECNET's own settings.
    is_decnets: bool,
}

/// Who names the database; nobody where it is the one of the data directory.
fn database_origin(env: Env<'_>, flag: Option<&str>) -> Option<NamedDatabase> {
    let file_name = format!("{DATABASE_URL}_FILE");
    let ours = match flag {
        Some(_) => Some("--database-url".into()),
        None => [DATABASE_URL, &file_name]
            .into_iter()
            .find(|name| env.path(name).is_some())
            .map(|name| env.label(name)),
    };
    let is_decnets = ours.is_none();
    let by = ours.or_else(|| decnet::database_origin(env))?;
    Some(NamedDatabase { by, is_decnets })
}

/// A file that was named is somebody's: a new one in its place would be an empty installation.
fn refuse_to_make(name: &str, config: &DatabaseConfig) -> Result<(), SettingError> {
    match database_file(config) {
        Some(path) if !path.exists() => Err(SettingError::NoDatabaseFile {
            name: name.into(),
            path,
        }),
        _ => Ok(()),
    }
}

/// DECNET's worker honours these, and the address that is checked must be the one that is connected
/// to.
fn warn_of_proxies(env: Env<'_>) {
    let names = [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let set: Vec<&str> = names
        .into_iter()
        .filter(|name| env.path(name).is_some())
        .collect();
    if !set.is_empty() {
        tracing::warn!(
            "{} counts for nothing here: deliveries go straight to their endpoints, never through a \
             proxy, so that the address that was checked is the one that is reached; let this machine \
             reach them",
            set.join(", ")
        );
    }
}

fn egress(env: Env<'_>) -> Result<EgressPolicy, SettingError> {
    const NAME: &str = "DECNET_WEBHOOK_ALLOW_CIDRS";
    let private = env.decnet_flag("DECNET_WEBHOOK_ALLOW_PRIVATE")?;
    let private = private.unwrap_or(false);
    let cidrs = env.text(NAME)?.unwrap_or_default();
    let cidrs = cidrs
        .split(',')
        .map(str::trim)
        .filter(|cidr| !cidr.is_empty())
        .map(|cidr| {
            parse_setting(
                NAME,
                cidr,
                "a network such as 10.20.0.0/16",
                "separate networks by commas; a single address is written 10.20.0.7/32",
                |text| text.parse().ok(),
            )
        })
        .collect::<Result<Vec<IpNet>, _>>()?;
    Ok(EgressPolicy::default()
        .allow_private(private)
        .allow_cidrs(cidrs))
}

fn publish_quota(env: Env<'_>) -> Result<PublishQuota, SettingError> {
    let default = PublishQuota::default();
    let quota = |name, default| {
        let given: Option<NonZeroU32> = env.parsed(
            name,
            "a whole number, 1 or more",
            "set it to what one publisher may send a second, or unset it",
            |text| text.parse().ok(),
        )?;
        Ok::<_, SettingError>(given.unwrap_or(default))
    };
    let share = env.parsed(
        "DECNET_PUBLISH_BUS_SHARE",
        "a whole percentage from 1 to 100",
        "set it to the part of --bus-max-bytes that one publisher may fill, or unset it",
        |text| {
            let percent = text.parse::<NonZeroU32>().ok();
            percent.filter(|percent| percent.get() <= 100)
        },
    )?;
    Ok(PublishQuota {
        events_per_second: quota(
            "DECNET_PUBLISH_EVENTS_PER_SECOND",
            default.events_per_second,
        )?,
        bytes_per_second: quota("DECNET_PUBLISH_BYTES_PER_SECOND", default.bytes_per_second)?,
        bus_share_percent: share.unwrap_or(default.bus_share_percent),
    })
}

fn worker_config(env: Env<'_>, options: &WorkerOptions) -> Result<WorkerConfig, SettingError> {
    let threshold = circuit_threshold(env)?;
    let longest_pause = reconnect_pause(env)?;
    let kept = Kept::read(env)?;
    let control_ping = env.flag("DECNET_WEBHOOK_CONTROL_PING")?;
    #[cfg(feature = "failpoints")]
    let default = crate::failpoints::haste(env)?;
    #[cfg(not(feature = "failpoints"))]
    let default = WorkerConfig::default();
    Ok(WorkerConfig {
        name: worker_name(),
        takeover: options.takeover || env.flag("DECNET_WEBHOOK_TAKEOVER")?.unwrap_or(false),
        longest_pause: longest_pause.unwrap_or(default.longest_pause),
        circuit_threshold: threshold.unwrap_or(default.circuit_threshold),
        keep_delivered: kept.delivered.unwrap_or(default.keep_delivered),
        keep_dead: kept.dead.unwrap_or(default.keep_dead),
        keep_dead_bytes: DeadBytes {
            each: kept.dead_bytes_each.unwrap_or(default.keep_dead_bytes.each),
            all: kept.dead_bytes.unwrap_or(default.keep_dead_bytes.all),
        },
        control_ping: control_ping.unwrap_or(default.control_ping),
        ..default
    })
}

/// DECNET takes numbers out of range for the nearest one in it, and so does this.
fn circuit_threshold(env: Env<'_>) -> Result<Option<u32>, SettingError> {
    const NAME: &str = "DECNET_WEBHOOK_CIRCUIT_THRESHOLD";
    let given = env.parsed(
        NAME,
        "a number of failed deliveries, 1 or more",
        "set it to e.g. 5, or unset it",
        |text| text.parse::<i64>().ok(),
    )?;
    Ok(given.map(|given| {
        let count = u32::try_from(given.max(1)).unwrap_or(u32::MAX);
        if i64::from(count) != given {
            tracing::warn!("{}={given} counts as {count}", env.label(NAME));
        }
        count
    }))
}

/// The longest pause between two attempts to reach the bus.
pub(super) fn reconnect_pause(env: Env<'_>) -> Result<Option<Duration>, SettingError> {
    const NAME: &str = "DECNET_WEBHOOK_BUS_RECONNECT_SECS";
    let given = env.parsed(
        NAME,
        "a number of seconds, 1 or more",
        "set it to e.g. 60, or unset it",
        |text| text.parse::<f64>().ok().filter(|seconds| !seconds.is_nan()),
    )?;
    Ok(given.map(|given| {
        let seconds = given.clamp(1.0, LONGEST_PAUSE_SECS);
        if seconds != given {
            tracing::warn!("{}={given} counts as {seconds}", env.label(NAME));
        }
        Duration::from_secs_f64(seconds)
    }))
}

/// What an operator calls this process among several.
fn worker_name() -> String {
    let host = nix::unistd::gethostname().unwrap_or_default();
    format!("{}/{}", host.to_string_lossy(), std::process::id())
}
