//! A stand-in for what DECNET installs on its master: its units, its `init` and `deinit`, its files of
//! settings and its schema, written from a description of them alone.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// The statements that make its tables at its first start, in their order. It runs each by itself and
/// stops at the first that fails, so that a table which is there already leaves it half-way.
pub const DECNET_SCHEMA: [&str; 7] = [
    "CREATE TABLE attackers (uuid VARCHAR NOT NULL, ip VARCHAR NOT NULL, PRIMARY KEY (uuid))",
    "CREATE TABLE users (uuid VARCHAR NOT NULL, username VARCHAR NOT NULL, role VARCHAR NOT NULL,
        must_change_password BOOLEAN NOT NULL, tokens_valid_from DATETIME, PRIMARY KEY (uuid))",
    "CREATE TABLE webhook_subscriptions (
        uuid VARCHAR NOT NULL, name VARCHAR NOT NULL, url VARCHAR NOT NULL,
        secret VARCHAR NOT NULL, topic_patterns VARCHAR NOT NULL,
        enabled BOOLEAN NOT NULL, consecutive_failures INTEGER NOT NULL,
        last_success_at DATETIME, last_failure_at DATETIME, last_error VARCHAR,
        auto_disabled_at DATETIME, created_at DATETIME NOT NULL,
        updated_at DATETIME NOT NULL, PRIMARY KEY (uuid))",
    "CREATE UNIQUE INDEX ix_webhook_subscriptions_name ON webhook_subscriptions (name)",
    "CREATE INDEX ix_webhook_subscriptions_enabled ON webhook_subscriptions (enabled)",
    "CREATE TABLE revoked_tokens (jti VARCHAR NOT NULL, PRIMARY KEY (jti))",
    "CREATE TABLE state (key VARCHAR NOT NULL, value VARCHAR NOT NULL, PRIMARY KEY (key))",
];

/// Its units that are not the target.
const SERVICES: [&str; 4] = [
    "decnet-bus.service",
    "decnet-api.service",
    "decnet-webhook.service",
    "decnet-web.service",
];
const TARGET: &str = "decnet.target";

/// A DECNET below a root directory.
#[derive(Debug, Clone)]
pub struct DecnetMaster {
    root: PathBuf,
    user: String,
    group: String,
}

impl DecnetMaster {
    /// Nothing is written yet.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            user: "decnet".into(),
            group: "decnet".into(),
        }
    }

    /// Who its units run as from its next `init` on.
    #[must_use]
    pub fn run_as(mut self, user: &str, group: &str) -> Self {
        self.user = user.into();
        self.group = group.into();
        self
    }

    /// Its `init`: writes all of its units afresh, and makes its directories and its link. What is in
    /// `*.service.d/` it does not touch.
    pub fn init(&self) -> io::Result<()> {
        let units = self.units();
        fs::create_dir_all(&units)?;
        for service in SERVICES {
            fs::write(units.join(service), self.service(service))?;
        }
        let wants = SERVICES.join(" ");
        let target = format!(
            "[Unit]\nDescription=DECNET\nWants={wants}\n\n[Install]\nWantedBy=multi-user.target\n"
        );
        fs::write(units.join(TARGET), target)?;
        let program = self.directory().join("venv/bin/decnet");
        for folder in [
            self.directory().join("venv/bin"),
            self.root.join("usr/local/bin"),
            self.root.join("var/log/decnet"),
            self.root.join("run/decnet"),
            self.root.join("etc/decnet"),
        ] {
            fs::create_dir_all(folder)?;
        }
        fs::write(&program, "#!/bin/sh\necho DECNET itself\n")?;
        let link = self.link();
        if fs::symlink_metadata(&link).is_err() {
            symlink("/opt/decnet/venv/bin/decnet", link)?;
        }
        Ok(())
    }

    /// Its `deinit`: its units go, drop-ins and links of others stay.
    pub fn deinit(&self) -> io::Result<()> {
        for unit in SERVICES.into_iter().chain([TARGET]) {
            fs::remove_file(self.units().join(unit))?;
        }
        Ok(())
    }

    /// Where its units are.
    pub fn units(&self) -> PathBuf {
        self.root.join("etc/systemd/system")
    }

    /// Where it lives, with its database.
    pub fn directory(&self) -> PathBuf {
        self.root.join("opt/decnet")
    }

    /// The link that its units execute and its updater repoints.
    pub fn link(&self) -> PathBuf {
        self.root.join("usr/local/bin/decnet")
    }

    /// Where its broker listens.
    pub fn socket(&self) -> PathBuf {
        self.root.join("run/decnet/bus.sock")
    }

    /// Its default database.
    pub fn database(&self) -> PathBuf {
        self.directory().join("decnet.db")
    }

    /// Writes its `decnet.ini`.
    pub fn write_ini(&self, text: &str) -> io::Result<()> {
        let folder = self.root.join("etc/decnet");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("decnet.ini"), text)
    }

    /// Writes the file of secrets that its units read.
    pub fn write_secrets(&self, text: &str) -> io::Result<()> {
        fs::create_dir_all(self.directory())?;
        fs::write(self.directory().join(".env.local"), text)
    }

    fn service(&self, name: &str) -> String {
        let command = match name {
            "decnet-bus.service" => format!(
                "bus \\\n    --socket /run/decnet/bus.sock \\\n    --group {}",
                self.group
            ),
            "decnet-api.service" => "api".into(),
            "decnet-webhook.service" => "webhook".into(),
            _ => "web".into(),
        };
        let log = name.trim_end_matches(".service").replace('-', ".");
        let after = match name {
            "decnet-webhook.service" => "network.target decnet-bus.service decnet-api.service",
            _ => "network.target",
        };
        let (user, group) = (&self.user, &self.group);
        format!(
            "[Unit]\nDescription=DECNET {command_name}\nAfter={after}\nPartOf={TARGET}\n\n\
             [Service]\nUser={user}\nGroup={group}\nWorkingDirectory=/opt/decnet\n\
             EnvironmentFile=-/opt/decnet/.env.local\n\
             ExecStart=/opt/decnet/venv/bin/decnet {command}\n\
             StandardOutput=append:/var/log/decnet/{log}.log\n\
             StandardError=append:/var/log/decnet/{log}.log\n\
             Restart=on-failure\nProtectSystem=full\n\
             ReadWritePaths=/opt/decnet /var/log/decnet\n\n\
             [Install]\nWantedBy={TARGET}\n",
            command_name = command.split(' ').next().unwrap_or_default(),
        )
    }
}

/// Every file and link below a directory: its path, and its text or where it leads. For comparing what
/// was there before and after.
pub fn tree(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
            let kind = entry.file_type().expect("a file has a type");
            if kind.is_symlink() {
                let to = fs::read_link(&path).expect("a link leads somewhere");
                found.push((below, format!("-> {}", to.display())));
            } else if kind.is_dir() {
                found.push((below, "/".into()));
                folders.push(path);
            } else {
                let bytes = fs::read(&path).expect("a file can be read");
                found.push((below, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
    }
    found.sort();
    found
}
