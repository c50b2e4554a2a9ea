//! Copying a journal that is in use.

use std::os::unix::fs::PermissionsExt;

use webhook_bus::{
    BusError, Journal, JournalConfig, JournalCopy, JournalLock, Role, check_journal,
};

use crate::support::{consume, drain, open, publish, seqs};

#[tokio::test]
async fn a_copy_has_what_was_acknowledged_and_never_gives_a_number_twice() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(dir.path(), Role::Worker).await;
    let mut consumer = consume(&bus, "siem", "a.>").await;
    publish(&bus, "a.b", 5).await;
    drain(&mut consumer, 5).await;
    publish(&bus, "a.b", 5).await;
    bus.flush().await.unwrap();
    let copied = dir.path().join("copied.db");
    let copy = JournalCopy::make(dir.path().join("journal.db"), copied.clone())
        .await
        .unwrap();
    // The database is copied now; what comes meanwhile may be spoken of in it.
    publish(&bus, "a.b", 7).await;
    let position = copy.finish(0).await.unwrap();
    assert_eq!(position, bus.position().await.unwrap());
    bus.close().await.unwrap();

    let mode = std::fs::metadata(&copied).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    check_journal(copied.clone()).await.unwrap();
    let journal = Journal::open(JournalConfig::new(&copied, Role::Worker)).await;
    let bus = journal.unwrap().into();
    let mut consumer = consume(&bus, "siem", "a.>").await;
    assert_eq!(publish(&bus, "a.b", 1).await, [18]);
    assert_eq!(seqs(&drain(&mut consumer, 18).await), [6, 7, 8, 9, 10, 18]);
}

#[tokio::test]
async fn an_empty_journal_and_a_later_database() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(dir.path(), Role::Worker).await;
    let copied = dir.path().join("copied.db");
    let copy = JournalCopy::make(dir.path().join("journal.db"), copied.clone());
    let position = copy.await.unwrap().finish(1_000).await.unwrap();
    assert_eq!(position.next_seq, 1_001);
    let journal = Journal::open(JournalConfig::new(&copied, Role::Appender)).await;
    assert_eq!(publish(&journal.unwrap().into(), "a.b", 1).await, [1_001]);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn nothing_is_overwritten_made_up_or_taken_for_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (missing, other) = (dir.path().join("none.db"), dir.path().join("other.db"));
    let made = JournalCopy::make(missing.clone(), other.clone()).await;
    assert!(matches!(made, Err(BusError::Journal { .. })), "{made:?}");
    assert!(!missing.exists() && !other.exists());

    let bus = open(dir.path(), Role::Worker).await;
    publish(&bus, "a.b", 2_000).await;
    std::fs::write(&other, "something of somebody's").unwrap();
    let journal = dir.path().join("journal.db");
    let made = JournalCopy::make(journal.clone(), other.clone()).await;
    assert!(made.is_err(), "{made:?}");
    assert_eq!(std::fs::read(&other).unwrap(), b"something of somebody's");
    std::fs::remove_file(&other).unwrap();
    let copy = JournalCopy::make(journal.clone(), other.clone()).await;
    copy.unwrap().finish(0).await.unwrap();
    let mut bytes = std::fs::read(&other).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8_192].fill(0xAA);
    std::fs::write(&other, bytes).unwrap();
    assert!(check_journal(other).await.is_err());

    assert!(matches!(
        JournalLock::take(&journal),
        Err(BusError::Locked(_))
    ));
    bus.close().await.unwrap();
    let lock = JournalLock::take(&journal).unwrap();
    let opened = Journal::open(JournalConfig::new(&journal, Role::Worker)).await;
    assert!(matches!(opened, Err(BusError::Locked(_))));
    drop(lock);
}
