//! Tokens that were used, and those that were revoked.

use webhook_model::UtcTime;
use webhook_store::TokenRow;

use crate::support::*;

on_each_engine!(a_token_is_kept_once_and_revoked_for_good,);

fn row(jti: &str, expires_at: UtcTime) -> TokenRow {
    TokenRow {
        jti: jti.to_owned(),
        username: "sensor-7".to_owned(),
        role: "publisher".to_owned(),
        topics: vec!["attacker.>".to_owned()],
        issued_at: UtcTime::from_micros(1_777_032_000_000_000),
        expires_at,
        revoked_at: None,
    }
}

async fn a_token_is_kept_once_and_revoked_for_good(database: Database) {
    let store = database.open().await;
    let now = UtcTime::now();
    let later = UtcTime::from_micros(now.micros() + 3_600_000_000);
    let (one, other) = (row("one", later), row("Two", later));
    for _ in 0..2 {
        store.note_token(&one).await.unwrap();
    }
    assert_eq!(store.token("one").await.unwrap().as_ref(), Some(&one));
    assert_eq!(store.token("ONE").await.unwrap(), None);

    // What revokes a token knows nothing else of it, and a late first use changes nothing.
    let revoked = TokenRow {
        username: String::new(),
        revoked_at: Some(now),
        ..one.clone()
    };
    store.revoke_token(&revoked).await.unwrap();
    store.note_token(&one).await.unwrap();
    let found = store.token("one").await.unwrap().unwrap();
    assert_eq!(
        (found.revoked_at, &*found.username),
        (Some(now), "sensor-7")
    );

    store.revoke_token(&other).await.unwrap();
    let listed = store.tokens(now, 10).await.unwrap();
    let ids: Vec<&str> = listed.iter().map(|it| it.jti.as_str()).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&"one") && ids.contains(&"Two"));

    // What has ended by itself is neither listed nor kept.
    let over = UtcTime::from_micros(now.micros() - 1_000_000);
    store.note_token(&row("over", over)).await.unwrap();
    assert_eq!(store.tokens(now, 10).await.unwrap().len(), 2);
    store.note_token(&row("new", later)).await.unwrap();
    assert_eq!(store.token("over").await.unwrap(), None);
    store.close().await.unwrap();
}
