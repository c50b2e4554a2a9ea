use std::path::Path;

use super::{env::Lookup, *};

fn read(vars: &dyn Lookup, data_dir: &Path) -> Result<ServerSettings, String> {
    let storage = ServerStorageOptions {
        storage: StorageOptions {
            data_dir: Some(data_dir.into()),
            ..Default::default()
        },
        create: false,
    };
    ServerSettings::read(
        Env(vars),
        &storage,
        &HttpOptions::default(),
        &WorkerOptions::default(),
    )
    .map_err(|error| error.to_string())
}

#[test]
fn defaults_are_the_contracts() {
    let dir = tempfile::tempdir().unwrap();
    let settings = read(&[("X", "")], dir.path()).unwrap();
    assert_eq!(
        settings.database.url,
        format!("sqlite://{}/decnet.db", dir.path().display())
    );
    assert_eq!(
        settings.bus.to_string(),
        format!("embedded, socket {}/bus.sock", dir.path().display())
    );
    assert_eq!((settings.host.as_str(), settings.port), ("127.0.0.1", 8000));
    assert!(!settings.worker.takeover);
    assert_eq!(settings.worker.circuit_threshold, 5);
    let metrics = server::metrics_addr(Env(&[("X", "")]), None).unwrap();
    assert_eq!(metrics.to_string(), "127.0.0.1:9464");
}

#[test]
fn the_circuit_threshold_reaches_the_worker() {
    let dir = tempfile::tempdir().unwrap();
    let vars = [("DECNET_WEBHOOK_CIRCUIT_THRESHOLD", "3")];
    let settings = read(&vars, dir.path()).unwrap();
    assert_eq!(settings.worker.circuit_threshold, 3);
}

#[test]
fn the_control_ping_can_be_done_without() {
    let dir = tempfile::tempdir().unwrap();
    assert!(read(&[], dir.path()).unwrap().worker.control_ping);
    let vars = [("DECNET_WEBHOOK_CONTROL_PING", "false")];
    assert!(!read(&vars, dir.path()).unwrap().worker.control_ping);
}

#[test]
fn numbers_out_of_range_count_as_the_nearest_in_it() {
    let dir = tempfile::tempdir().unwrap();
    for (threshold, pause, expected) in [
        ("0", "2.5", (1, 2_500)),
        ("-3", "0", (1, 1_000)),
        ("99999999999", "1e300", (u32::MAX, 86_400_000)),
    ] {
        let vars = [
            ("DECNET_WEBHOOK_CIRCUIT_THRESHOLD", threshold),
            ("DECNET_WEBHOOK_BUS_RECONNECT_SECS", pause),
        ];
        let worker = read(&vars, dir.path()).unwrap().worker;
        let found = (worker.circuit_threshold, worker.longest_pause.as_millis());
        assert_eq!(found, expected);
    }
}

#[test]
fn a_named_database_has_to_be_there_unless_it_is_to_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/named.db", dir.path().display());
    for name in ["DECNET_DATABASE_URL", "DECNET_DB_URL"] {
        let url = if name == "DECNET_DB_URL" {
            url.replace("sqlite://", "sqlite+aiosqlite:///")
        } else {
            url.clone()
        };
        let error = read(&[(name, url.as_str())], dir.path()).unwrap_err();
        assert!(
            error.starts_with(&format!("{name} names the database file")),
            "{error}"
        );
        assert!(error.contains("--create"), "{error}");
    }
    std::fs::write(dir.path().join("named.db"), "").unwrap();
    let ours = read(&[("DECNET_DATABASE_URL", url.as_str())], dir.path()).unwrap();
    assert!(!ours.database.awaits_decnet);
    let decnets = url.replace("sqlite://", "sqlite+aiosqlite:///");
    let decnets = read(&[("DECNET_DB_URL", decnets.as_str())], dir.path()).unwrap();
    assert!(decnets.database.awaits_decnet);
    assert_eq!(decnets.database.url, url);
}

#[test]
fn every_wrong_value_is_named_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value, remedy) in [
        ("DECNET_API_PORT", "80000", "set it to a free port"),
        ("DECNET_WEBHOOK_TAKEOVER", "perhaps", "`true` or `false`"),
        ("DECNET_WEBHOOK_CIRCUIT_THRESHOLD", "few", "e.g. 5"),
        ("DECNET_WEBHOOK_CONTROL_PING", "no way", "`true` or `false`"),
        ("DECNET_WEBHOOK_BUS_RECONNECT_SECS", "soon", "e.g. 60"),
        ("DECNET_CORS_ORIGINS", "*", "http://localhost:8080"),
        ("DECNET_DATABASE_URL", "oracle://x", "sqlite:///path"),
    ] {
        let error = read(&[(name, value)], dir.path()).unwrap_err();
        assert!(
            error.starts_with(&format!("{name}={value:?} is not ")),
            "{error}"
        );
        assert!(error.contains(remedy), "{error}");
    }
    let vars = [("DECNET_WEBHOOK_ALLOW_CIDRS", "10.0.0.0/8, 10.20.0.0/99")];
    let error = read(&vars, dir.path()).unwrap_err();
    assert!(
        error.contains("\"10.20.0.0/99\""),
        "only the wrong one is named: {error}"
    );
    let error = server::metrics_addr(Env(&[("DECNET_METRICS_ADDR", "9464")]), None).unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:9464"), "{error}");
}

#[test]
fn other_databases_are_refused_and_none_is_shown_with_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let vars = [("DECNET_DATABASE_URL", "postgres://decnet:hunter2@db/decnet")];
    let config = read(&vars, dir.path()).unwrap().database;
    assert_eq!(config.shown_url(), "postgres://decnet:…@db/decnet");
    let vars = [("DECNET_DATABASE_URL", "mysql://decnet:hunter2@db/decnet")];
    let config = read(&vars, dir.path()).unwrap().database;
    assert_eq!(config.shown_url(), "mysql://decnet:…@db/decnet");
    let vars = [(
        "DECNET_DATABASE_URL",
        "mysql+aiomysql://u:hunter2@db/decnet",
    )];
    let error = read(&vars, dir.path()).unwrap_err();
    assert!(error.contains("leave the driver out"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let vars = [("DECNET_DATABASE_URL", "oracle://decnet:hunter2@db/decnet")];
    let error = read(&vars, dir.path()).unwrap_err();
    assert!(
        error.contains("postgres://user:password@host/database"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn secrets_come_from_files_too_but_not_from_both() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("url");
    let elsewhere = format!("sqlite://{}/elsewhere.db", dir.path().display());
    std::fs::write(dir.path().join("elsewhere.db"), "").unwrap();
    std::fs::write(&file, format!("{elsewhere}\n")).unwrap();
    let vars = [("DECNET_DATABASE_URL_FILE", file.to_str().unwrap())];
    assert_eq!(read(&vars, dir.path()).unwrap().database.url, elsewhere);

    let both = [
        ("DECNET_DATABASE_URL_FILE", file.to_str().unwrap()),
        ("DECNET_DATABASE_URL", "sqlite:///x.db"),
    ];
    let error = read(&both, dir.path()).unwrap_err();
    assert_eq!(
        error,
        "DECNET_DATABASE_URL and DECNET_DATABASE_URL_FILE are both set; unset one of them"
    );

    let missing = [("DECNET_DATABASE_URL_FILE", "/does/not/exist")];
    let error = read(&missing, dir.path()).unwrap_err();
    assert!(
        error.starts_with("DECNET_DATABASE_URL_FILE=\"/does/not/exist\" cannot"),
        "{error}"
    );
}

#[test]
fn the_token_key_is_made_once_and_a_short_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::at(dir.path().into());
    let none = [("X", "")];
    assert!(
        JwtKey::for_client(Env(&none), &data_dir).unwrap().is_none(),
        "a client makes none"
    );
    assert!(JwtKey::for_server(Env(&none), &data_dir).unwrap().is_new);
    assert!(!JwtKey::for_server(Env(&none), &data_dir).unwrap().is_new);
    assert!(JwtKey::for_client(Env(&none), &data_dir).unwrap().is_some());

    let short = [("DECNET_JWT_SECRET", "hunter2")];
    let Err(error) = JwtKey::for_server(Env(&short), &data_dir) else {
        panic!("a short key was taken");
    };
    let error = error.to_string();
    assert!(
        error.starts_with("DECNET_JWT_SECRET has 7 characters"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn the_gate_closes_on_agents_alone() {
    let gated = |mode: &str, disallow: &str| {
        is_gated(Env(&[
            ("DECNET_MODE", mode),
            ("DECNET_DISALLOW_MASTER", disallow),
        ]))
    };
    assert!(gated("agent", ""));
    assert!(gated("agent", "true"));
    assert!(gated("AGENT", "anything"));
    assert!(!gated("agent", "false"));
    assert!(!gated("agent", "False"));
    assert!(!gated("master", "true"));
    assert!(!is_gated(Env(&[("X", "")])));
}
