//! A DECNET master: the units of DECNET's that ours stand beside or change.

use std::path::{Path, PathBuf};

use super::plan::Place;
use crate::{
    settings::{
        Env,
        decnet::{API_UNIT, Installation, WORKER_UNIT},
    },
    systemd::UnitFile,
};

/// Our API beside DECNET's own, which keeps its name.
const API_BESIDE: &str = "decnet-webhook-api.service";
/// Its port there: DECNET's has 8000.
const API_PORT: u16 = 8001;
/// Who runs a unit that names nobody.
const NOBODY_NAMED: &str = "root";

/// What its own units say.
pub(super) struct Master {
    pub(super) user: String,
    pub(super) group: String,
    /// The program that its worker's unit runs.
    pub(super) program: String,
    /// Its variables, for units that are not DECNET's.
    environment_files: Vec<PathBuf>,
    /// Directories that our programs have to write in: that of its database.
    writable: Vec<PathBuf>,
    has_api: bool,
}

impl Master {
    /// Found where a unit runs DECNET's worker.
    pub(super) fn find(place: &Place) -> anyhow::Result<Option<Self>> {
        let worker = place.folders.foreign(WORKER_UNIT)?;
        let Some(worker) = worker.filter(|unit| unit.runs("webhook")) else {
            return Ok(None);
        };
        let named = |key| worker.value(key).unwrap_or(NOBODY_NAMED).to_owned();
        let user = named("User");
        Ok(Some(Self {
            group: worker
                .value("Group")
                .map_or_else(|| user.clone(), Into::into),
            user,
            program: worker.command().swap_remove(0),
            environment_files: worker.environment_files(),
            writable: writable(place, &worker),
            has_api: place.folders.foreign(API_UNIT)?.is_some(),
        }))
    }

    /// The name that one of our units gets here; none where DECNET's own is changed by drop-ins.
    pub(super) fn name_of<'a>(&self, unit: &'a str) -> Option<&'a str> {
        match unit {
            WORKER_UNIT => None,
            API_UNIT if self.has_api => Some(API_BESIDE),
            other => Some(other),
        }
    }

    /// What a service needs besides, where it stands before the line that begins so.
    pub(super) fn directives(&self, is_drop_in: bool) -> String {
        let mut text = String::new();
        for path in &self.writable {
            text += &format!("ReadWritePaths=-{}\n", path.display());
        }
        if !is_drop_in {
            for path in &self.environment_files {
                text += &format!("EnvironmentFile=-{}\n", path.display());
            }
        }
        text
    }

    /// The command of our API here.
    pub(super) fn api_arguments(&self) -> String {
        if self.has_api {
            format!("api --port {API_PORT}")
        } else {
            "api".into()
        }
    }
}

/// Every name that a unit of ours can have.
pub(super) fn names(unit: &str) -> Vec<&str> {
    match unit {
        API_UNIT => vec![API_UNIT, API_BESIDE],
        other => vec![other],
    }
}

fn writable(place: &Place, worker: &UnitFile) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = worker.directory().into_iter().collect();
    let installation = Installation::find(&place.root);
    let database = installation.as_ref().and_then(|decnet| {
        let url = crate::settings::decnet::database_url(Env(decnet)).ok()??;
        webhook_store::database_file(&webhook_store::DatabaseConfig::new(url))
    });
    let folder = database.as_deref().and_then(Path::parent);
    if let Some(folder) = folder.map(|folder| place.inside(folder))
        && !found.contains(&folder)
    {
        found.push(folder);
    }
    found.retain(|path| path.to_str().is_some_and(|it| super::prefix(it).is_ok()));
    found
}
