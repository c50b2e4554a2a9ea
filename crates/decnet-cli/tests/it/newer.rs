//! Files that a newer version has migrated are refused by this one, and left as they are.

use std::{fs, path::Path};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::{Decnet, Starter, data_dir, run, stderr, succeeded};

const SERVERS: [&str; 3] = ["serve", "api", "webhook"];
/// A migration and a schema that this version will not get to.
const MIGRATION: &str = "m9999_wonders";
const SCHEMA: i64 = 9_999;
const REMEDY: &str = "install the newer decnet, or restore a backup made before the upgrade";

/// A data directory of this version, whose server has ended.
async fn stopped() -> TempDir {
    let dir = data_dir();
    let mut server = Decnet::serve(dir.path()).await;
    assert!(server.terminate().await.success());
    dir
}

/// Has a newer version migrate the database; returns what its refusal has to say.
fn migrate_database(file: &Path) -> Vec<String> {
    let database = Connection::open(file).expect("it opens");
    let newest = "SELECT max(version) FROM webhook_migrations";
    let known: String = database
        .query_row(newest, [], |row| row.get(0))
        .expect("it is migrated");
    let migrated = "INSERT INTO webhook_migrations VALUES (?1, 0)";
    database.execute(migrated, [MIGRATION]).expect("a row");
    vec![
        file.display().to_string(),
        MIGRATION.into(),
        format!("migrations up to {known})"),
        REMEDY.into(),
    ]
}

/// The same of a journal, which is not write-ahead any more either.
fn migrate_journal(file: &Path) -> Vec<String> {
    let journal = Connection::open(file).expect("it opens");
    let known: i64 = journal
        .query_row("SELECT schema FROM meta", [], |row| row.get(0))
        .expect("it has a schema");
    let migrated = "UPDATE meta SET schema = ?1";
    journal.execute(migrated, [SCHEMA]).expect("a row");
    journal
        .pragma_update(None, "journal_mode", "DELETE")
        .expect("nobody else uses it");
    vec![
        file.display().to_string(),
        format!("schema {SCHEMA};"),
        format!("schemas up to {known})"),
        REMEDY.into(),
    ]
}

/// The bytes of a file that nothing waits beside to be folded into.
fn bytes(file: &Path) -> Vec<u8> {
    let log = format!("{}-wal", file.display());
    let waiting = fs::metadata(log).map_or(0, |log| log.len());
    assert_eq!(waiting, 0, "{}", file.display());
    fs::read(file).expect("it can be read")
}

async fn servers_refuse(dir: &Path, file: &Path, says: &[String]) {
    let before = bytes(file);
    for command in SERVERS {
        let mut server = Starter::new(command, dir).spawn();
        assert_eq!(server.wait().await.code(), Some(1), "{command}");
        for part in says {
            server.log().wait_for(part).await;
        }
        assert!(before == bytes(file), "{command} wrote to it");
    }
}

async fn backup_refuses(dir: &Path, file: &Path, says: &[String]) {
    let before = bytes(file);
    let to = dir.join("copied");
    let output = run(dir, &["backup", to.to_str().expect("text")]).await;
    refused(&output, says);
    assert!(before == bytes(file), "backup wrote to it");
    let mut left = fs::read_dir(&to).expect("it was made");
    assert!(left.next().is_none(), "no half of a backup stays");
}

#[track_caller]
fn refused(output: &std::process::Output, says: &[String]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in says {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let dir = stopped().await;
    let file = dir.path().join("decnet.db");
    let says = migrate_database(&file);
    servers_refuse(dir.path(), &file, &says).await;
    backup_refuses(dir.path(), &file, &says).await;
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_refused_and_left_alone() {
    let dir = stopped().await;
    let file = dir.path().join("journal.db");
    let says = migrate_journal(&file);
    servers_refuse(dir.path(), &file, &says).await;
    backup_refuses(dir.path(), &file, &says).await;
}

#[tokio::test]
async fn a_backup_of_a_newer_version_is_refused_before_anything_is_replaced() {
    for name in ["decnet.db", "journal.db"] {
        let dir = stopped().await;
        let copied = dir.path().join("copied");
        let copied_text = copied.to_str().expect("text");
        succeeded(&run(dir.path(), &["backup", copied_text]).await);
        let file = copied.join(name);
        let says = match name {
            "decnet.db" => migrate_database(&file),
            _ => migrate_journal(&file),
        };
        let before = bytes(&file);

        let (old, journal) = (dir.path().join("decnet.db"), dir.path().join("journal.db"));
        let in_use = (bytes(&old), bytes(&journal));
        let output = run(dir.path(), &["restore", "--force", copied_text]).await;
        refused(&output, &says);
        assert!(before == bytes(&file), "restore wrote to {name}");
        assert!(in_use == (bytes(&old), bytes(&journal)), "{name}: replaced");
    }
}
