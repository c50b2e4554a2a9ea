//! `decnet restore`: a backup becomes a data directory that a server can be started on.

use std::{
    ffi::OsString,
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use webhook_bus::{JournalLock, check_journal};
use webhook_store::{check_database, database_file, has_tables_of_decnet, restore_tables};

use super::manifest::{DATABASE, JOURNAL, KEY, Manifest};
use crate::{
    held,
    output::{self, GOOD, NOTE},
    private_file,
    settings::{DataDir, Env, StorageOptions, StorageSettings},
};

const AFTER_HELP: &str = "\
Examples:
  decnet restore /backups/decnet-2026-11-24
  sudo -u decnet decnet restore --data-dir /var/lib/decnet --force /backups/today

Run it as root, or as the user that the server runs as. What had been delivered after the backup was
made is delivered once more, with the same ids. Of a database with tables of DECNET's only the webhook
tables are replaced.";

/// An API on this machine answers at once, or is not there.
const ANSWER: Duration = Duration::from_secs(1);

#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// What `decnet backup` made
    #[arg(value_name = "DIR")]
    from: PathBuf,
    /// Replace what is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    storage: StorageOptions,
}

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let manifest = Manifest::read(&args.from)?;
    let data_dir = DataDir::for_server(env, args.storage.data_dir.as_deref())?;
    let settings = StorageSettings::read(env, &args.storage, data_dir)?;
    let steps = steps(&args.from, &manifest, &settings).await?;
    refuse_to_replace(&steps, &settings.data_dir, args.force)?;
    let lock = JournalLock::take(&settings.data_dir.journal())
        .context("a worker runs on the data directory: stop it first")?;
    refuse_beside_api(&settings.data_dir)?;
    for step in &steps {
        step.refuse_while_held()?;
    }
    for step in &steps {
        match step.name {
            JOURNAL => check_journal(step.from.clone()).await?,
            DATABASE => check_database(&step.from).await?,
            _ => {}
        }
    }
    // All are there before the first is replaced.
    for step in &steps {
        step.stage()?;
    }
    for step in &steps {
        step.put().await?;
        let to = step.to.display();
        let part = match step.place {
            Place::File => "",
            Place::DecnetsDatabase => ": the webhook tables; DECNET's others are as they were",
        };
        output::line(format_args!("{GOOD}restored{GOOD:#} {to}{part}"))?;
    }
    drop(lock);
    if database_file(&settings.database).is_none() {
        let url = settings.database.shown_url();
        output::line(format_args!(
            "{NOTE}not covered{NOTE:#} the database {url}: restore it before a server starts"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One file and where it goes.
struct Step {
    name: &'static str,
    from: PathBuf,
    to: PathBuf,
    place: Place,
}

/// What is at its place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing, or a file of ours: it is replaced whole.
    File,
    /// A database with tables of DECNET's, which stays where and as it is but for our tables and the
    /// one that is shared.
    DecnetsDatabase,
}

async fn steps(
    from: &Path,
    manifest: &Manifest,
    settings: &StorageSettings,
) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut add = |name, to, place| {
        if manifest.has(name) {
            let from = from.join(name);
            steps.push(Step {
                name,
                from,
                to,
                place,
            });
        }
    };
    // The database first: one that is behind its journal repeats, one that is ahead would lose.
    match database_file(&settings.database) {
        Some(file) => {
            let place = if file.exists() && has_tables_of_decnet(&file).await? {
                Place::DecnetsDatabase
            } else {
                Place::File
            };
            add(DATABASE, file, place);
        }
        None if manifest.has(DATABASE) => bail!(
            "the backup holds a database of SQLite and the settings name {}; unset DECNET_DATABASE_URL, or leave out --database-url",
            settings.database.shown_url()
        ),
        None => {}
    }
    add(JOURNAL, settings.data_dir.journal(), Place::File);
    add(KEY, settings.data_dir.jwt_secret(), Place::File);
    Ok(steps)
}

fn refuse_to_replace(steps: &[Step], data_dir: &DataDir, force: bool) -> anyhow::Result<()> {
    if force {
        return Ok(());
    }
    let folder = data_dir.path();
    // A lock that nobody holds says nothing.
    let lock = data_dir.journal().with_extension("lock");
    let mut entries = fs::read_dir(folder)?.flatten();
    if entries.any(|entry| entry.path() != lock) {
        bail!(
            "{} is not empty; name another directory with --data-dir, or replace what is there with --force",
            folder.display()
        );
    }
    if let Some(step) = steps.iter().find(|step| step.to.exists()) {
        let to = step.to.display();
        match step.place {
            Place::File => bail!("{to} exists; replace it with --force"),
            Place::DecnetsDatabase => bail!(
                "{to} is DECNET's; with --force the webhook tables in it are replaced, and no others"
            ),
        }
    }
    Ok(())
}

/// An API without a worker holds no lock, but leaves its address.
fn refuse_beside_api(data_dir: &DataDir) -> anyhow::Result<()> {
    let url = fs::read_to_string(data_dir.api_url()).unwrap_or_default();
    let addr: Option<SocketAddr> = url
        .trim()
        .strip_prefix("http://")
        .and_then(|addr| addr.parse().ok());
    if addr.is_some_and(|addr| TcpStream::connect_timeout(&addr, ANSWER).is_ok()) {
        bail!(
            "an API runs on the data directory ({}): stop it first",
            url.trim()
        );
    }
    Ok(())
}

impl Step {
    fn staged(&self) -> PathBuf {
        with_suffix(&self.to, ".restoring")
    }

    /// Whoever has the file open would go on with what is gone, or write over what is new.
    fn refuse_while_held(&self) -> anyhow::Result<()> {
        if !self.to.exists() {
            return Ok(());
        }
        let to = self.to.display();
        let holder = held::holder(&self.to).with_context(|| format!("looking who uses {to}"))?;
        match holder {
            Some(process) => bail!("{process} has {to} open: stop it first"),
            None => Ok(()),
        }
    }

    /// Copies the file beside its place, for who may read what is there.
    fn stage(&self) -> anyhow::Result<()> {
        if self.place == Place::DecnetsDatabase {
            return Ok(());
        }
        let copied = (|| {
            if let Some(folder) = self.to.parent() {
                fs::create_dir_all(folder)?;
            }
            let staged = self.staged();
            private_file::copy(&self.from, &staged)?;
            private_file::inherit(&staged, &self.to)
        })();
        copied.with_context(|| {
            format!(
                "copying {} to {}; run this as root, or as the user who owns what is there",
                self.from.display(),
                self.to.display()
            )
        })
    }

    /// Puts it in its place. The logs of an older file there would be read into it.
    async fn put(&self) -> anyhow::Result<()> {
        if self.place == Place::DecnetsDatabase {
            return Ok(restore_tables(&self.from, &self.to).await?);
        }
        for suffix in ["-wal", "-shm", "-journal"] {
            match fs::remove_file(with_suffix(&self.to, suffix)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context("removing what belongs to the older file");
                }
                _ => {}
            }
        }
        private_file::rename(&self.staged(), &self.to)
            .with_context(|| format!("putting {} in its place", self.to.display()))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = OsString::from(path);
    text.push(suffix);
    text.into()
}
