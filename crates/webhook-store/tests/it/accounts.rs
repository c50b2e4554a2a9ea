//! DECNET's `users` and `revoked_tokens`.

use webhook_model::UtcTime;
use webhook_store::StoreError;

use crate::support::*;

on_each_engine!(
    without_decnet_there_is_nobody,
    users_and_revocations_are_read,
    an_older_users_table_has_no_cutoff,
    whose_password_must_change_is_read,
    decnet_installed_later_is_found,
);

const USERS: &str = "CREATE TABLE users (uuid VARCHAR NOT NULL, username VARCHAR NOT NULL,
    password_hash VARCHAR NOT NULL, role VARCHAR NOT NULL, must_change_password BOOLEAN NOT NULL,
    tokens_valid_from DATETIME, PRIMARY KEY (uuid));
    INSERT INTO users VALUES ('u-1', 'ada', 'x', 'admin', FALSE, '2026-04-24 12:00:00.000000'),
        ('u-2', 'bob', 'x', 'viewer', FALSE, NULL);";

async fn without_decnet_there_is_nobody(database: Database) {
    let store = database.open().await;
    assert_eq!(store.user("u-1").await.unwrap(), None);
    assert!(!store.is_revoked("t-1").await.unwrap());
}

async fn users_and_revocations_are_read(database: Database) {
    let decnet = database.decnet().await;
    decnet.run(USERS).await;
    decnet
        .run(
            "CREATE TABLE revoked_tokens (jti VARCHAR NOT NULL, user_uuid VARCHAR NOT NULL,
            expires_at DATETIME NOT NULL, revoked_at DATETIME NOT NULL, PRIMARY KEY (jti));
            INSERT INTO revoked_tokens VALUES ('t-1', 'u-1', '2026-04-25', '2026-04-24')",
        )
        .await;
    let store = database.open().await;
    let ada = store.user("u-1").await.unwrap().unwrap();
    assert_eq!((ada.username.as_str(), ada.role.as_str()), ("ada", "admin"));
    assert_eq!(
        ada.tokens_valid_from,
        Some(UtcTime::parse_sql("2026-04-24T12:00:00Z").unwrap())
    );
    assert_eq!(
        store.user("u-2").await.unwrap().unwrap().tokens_valid_from,
        None
    );
    assert_eq!(store.user("u-9").await.unwrap(), None);
    assert!(store.is_revoked("t-1").await.unwrap());
    assert!(!store.is_revoked("t-2").await.unwrap());
    decnet
        .run("INSERT INTO revoked_tokens VALUES ('t-2', 'u-1', '2026-04-25', '2026-04-24')")
        .await;
    assert!(store.is_revoked("t-2").await.unwrap());
}

/// Only SQLite takes any text for a datetime.
#[tokio::test]
async fn a_cutoff_that_cannot_be_read_lets_nobody_in() {
    let database = Database::new();
    let decnet = database.decnet().await;
    decnet.run(USERS).await;
    decnet
        .run("UPDATE users SET tokens_valid_from = 'never'")
        .await;
    assert!(matches!(
        database.open().await.user("u-1").await,
        Err(StoreError::BadRow { table: "users", .. })
    ));
}

async fn an_older_users_table_has_no_cutoff(database: Database) {
    let decnet = database.decnet().await;
    decnet.run(USERS).await;
    decnet
        .run("ALTER TABLE users DROP COLUMN tokens_valid_from")
        .await;
    let store = database.open().await;
    assert_eq!(
        store.user("u-1").await.unwrap().unwrap().tokens_valid_from,
        None
    );
}

async fn whose_password_must_change_is_read(database: Database) {
    let decnet = database.decnet().await;
    decnet.run(USERS).await;
    decnet
        .run("UPDATE users SET must_change_password = TRUE WHERE uuid = 'u-2'")
        .await;
    let store = database.open().await;
    for (uuid, must) in [("u-1", false), ("u-2", true)] {
        let user = store.user(uuid).await.unwrap().unwrap();
        assert_eq!(user.must_change_password, must, "{uuid}");
    }
    decnet
        .run("ALTER TABLE users DROP COLUMN must_change_password")
        .await;
    let older = database.open().await;
    let user = older.user("u-2").await.unwrap().unwrap();
    assert!(!user.must_change_password);
}

async fn decnet_installed_later_is_found(database: Database) {
    let store = database.open().await;
    assert_eq!(store.user("u-1").await.unwrap(), None);
    database.decnet().await.run(USERS).await;
    assert_eq!(
        store.user("u-1").await.unwrap(),
        None,
        "not looked for with every request"
    );
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    tokio::time::resume();
    assert!(store.user("u-1").await.unwrap().is_some());
}
