//! `decnet backup`: journal, database and signing key, copied while everything runs.

mod manifest;
pub(crate) mod restore;

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use webhook_bus::JournalCopy;
use webhook_store::database_file;

use self::manifest::{DATABASE, JOURNAL, KEY, Manifest};
use crate::{
    output::{self, GOOD, NOTE},
    settings::{BusChoice, DataDir, Env, StorageOptions, StorageSettings},
};

const AFTER_HELP: &str = "\
Examples:
  decnet backup /backups/decnet-2026-11-24
  sudo -u decnet decnet backup --data-dir /var/lib/decnet /backups/today && tar -cf today.tar -C /backups today

What was accepted before the backup began is in it: delivered, in the log, or still to be delivered.
Copy a database on a server after this with its own tools (pg_dump), never before.";

/// How far the numbering of a journal goes on whose database, on a server, is copied later: more
/// events than anybody publishes in between.
const LATER_DATABASE: u64 = 1_000_000_000;

#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Where to: a directory that does not exist yet or is empty; it will hold secrets
    #[arg(value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    storage: StorageOptions,
}

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let data_dir = DataDir::for_client(env, args.storage.data_dir.as_deref());
    let settings = StorageSettings::read(env, &args.storage, data_dir)?;
    let to = std::path::absolute(&args.to).unwrap_or(args.to);
    make_folder(&to)?;
    let mut made = Made {
        folder: to.clone(),
        files: Vec::new(),
        kept: false,
    };
    let contents = copy(&settings, &mut made).await?;
    if contents.files.is_empty() {
        bail!(
            "there is nothing to copy in {}; name the directory of the server with --data-dir",
            settings.data_dir.path().display()
        );
    }
    made.put(manifest::NAME, &contents.manifest()?)?;
    fs::File::open(&to)?.sync_all()?;
    made.kept = true;
    for file in &contents.files {
        output::line(format_args!("{GOOD}copied{GOOD:#} {file}"))?;
    }
    for note in &contents.notes {
        output::line(format_args!("{NOTE}not covered{NOTE:#} {note}"))?;
    }
    eprintln!("`decnet restore {}` puts it back.", to.display());
    Ok(ExitCode::SUCCESS)
}

/// What a backup has, and what it has not.
#[derive(Default)]
struct Contents {
    files: Vec<String>,
    notes: Vec<String>,
}

impl Contents {
    fn manifest(&self) -> anyhow::Result<String> {
        Ok(Manifest::of(self.files.clone()).text()?)
    }
}

/// The journal first and the database after it: what the one holds as acknowledged, the other has as
/// an outcome. What comes in between is at most delivered once more.
async fn copy(settings: &StorageSettings, made: &mut Made) -> anyhow::Result<Contents> {
    let mut contents = Contents::default();
    let database = database_file(&settings.database);
    let journal = settings.data_dir.journal();
    let copying = if matches!(settings.bus, BusChoice::Nats(_)) {
        let note = "the stream on NATS: use `nats stream backup`, before this";
        contents.notes.push(note.into());
        None
    } else if journal.exists() {
        let copy = made.path(JOURNAL);
        contents.files.push(JOURNAL.into());
        Some(JournalCopy::make(journal, copy).await?)
    } else {
        None
    };
    match &database {
        Some(file) if file.exists() => {
            made.put(DATABASE, "")?;
            webhook_store::copy_database(&settings.database, &made.path(DATABASE)).await?;
            fs::File::open(made.path(DATABASE))?.sync_all()?;
            contents.files.push(DATABASE.into());
        }
        Some(file) => bail!(
            "there is no database {}; name it with --database-url, or its directory with --data-dir",
            file.display()
        ),
        None => contents.notes.push(format!(
            "the database {}: copy it now, after this, with its own tools (pg_dump)",
            settings.database.shown_url()
        )),
    }
    if let Some(copying) = copying {
        let margin = if database.is_some() {
            0
        } else {
            LATER_DATABASE
        };
        copying.finish(margin).await?;
    }
    match fs::read_to_string(settings.data_dir.jwt_secret()) {
        Ok(key) => {
            made.put(KEY, &key)?;
            contents.files.push(KEY.into());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let note = "the key of tokens: it comes from DECNET_JWT_SECRET, keep that";
            contents.notes.push(note.into());
        }
        Err(error) => return Err(error).context("reading the key of tokens"),
    }
    Ok(contents)
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("making {}", path.display()))?;
    let is_empty = fs::read_dir(path)?.next().is_none();
    if !is_empty {
        bail!("{} is not empty; name a new directory", path.display());
    }
    Ok(())
}

/// What was written so far; unless it is kept, nothing of it stays.
struct Made {
    folder: PathBuf,
    files: Vec<PathBuf>,
    kept: bool,
}

impl Made {
    /// Where a file is going to be.
    fn path(&mut self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        self.files.push(path.clone());
        path
    }

    /// Writes a private file.
    fn put(&mut self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            });
        written.with_context(|| format!("writing {}", path.display()))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        for file in &self.files {
            // What cannot be removed lacks a manifest, so that no restore takes it for whole.
            let _ = fs::remove_file(file);
        }
    }
}
