//! Every kind of token that does not count, and every role that is not enough.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Sha256, Sha512};
use webhook_api::tokens::Role;

use crate::{
    client::Reply,
    server::{JWT_KEY, Server, token},
};

const ROUTE: &str = "/api/v1/webhooks";

fn now() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    since.as_secs()
}

/// Claims as DECNET mints them.
fn claims() -> Value {
    json!({
        "uuid": "user-1", "jti": "jti-1", "exp": now() + 600, "iat": now() - 10,
        "iss": "decnet", "aud": "decnet-dashboard", "typ": "access",
    })
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    claims["role"] = json!("admin");
    change(&mut claims);
    claims
}

/// Signs without any code of the project.
fn sign(header: &Value, claims: &Value, key: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = match header["alg"].as_str() {
        Some("HS256") => {
            let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
            mac.chain_update(&message).finalize().into_bytes().to_vec()
        }
        Some("HS512") => {
            let mac = Hmac::<Sha512>::new_from_slice(key.as_bytes()).unwrap();
            mac.chain_update(&message).finalize().into_bytes().to_vec()
        }
        _ => Vec::new(),
    };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hs256(claims: &Value) -> String {
    sign(&json!({"alg": "HS256", "typ": "JWT"}), claims, JWT_KEY)
}

#[track_caller]
fn unauthorised(reply: &Reply) {
    reply.problem(401, "Could not validate credentials");
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_do_not_count() {
    let server = Server::start().await;
    let good = hs256(&with(|_| {}));
    assert_eq!(server.send_as(&good, "GET", ROUTE, None).await.status, 200);

    let since = hs256(&with(|c| c["nbf"] = json!(now() - 1)));
    assert_eq!(server.send_as(&since, "GET", ROUTE, None).await.status, 200);

    let mut refused = vec![
        sign(&json!({"alg": "none"}), &with(|_| {}), ""),
        sign(
            &json!({"alg": "HS512", "typ": "JWT"}),
            &with(|_| {}),
            JWT_KEY,
        ),
        sign(
            &json!({"alg": "HS256"}),
            &with(|_| {}),
            "another-key-another-key-another-key",
        ),
        sign(&json!({"typ": "JWT"}), &with(|_| {}), JWT_KEY),
        hs256(&with(|c| c["exp"] = json!(now() - 1))),
        hs256(&with(|c| c["iat"] = json!(now() + 60))),
        hs256(&with(|c| c["nbf"] = json!(now() + 60))),
        hs256(&with(|c| c["nbf"] = json!("soon"))),
        hs256(&with(|c| c["topics"] = json!(["a..b"]))),
        sign(
            &json!({"alg": "HS256", "typ": "JWT", "crit": ["b64"], "b64": true}),
            &with(|_| {}),
            JWT_KEY,
        ),
        hs256(&with(|c| c["aud"] = json!("decnet-swarm"))),
        hs256(&with(|c| c["iss"] = json!("somebody"))),
        hs256(&with(|c| c["typ"] = json!("refresh"))),
        hs256(&with(|c| c["role"] = json!("root"))),
        hs256(&with(|c| c["role"] = json!(["admin"]))),
        // No role, and no table that would know it.
        hs256(&claims()),
        "nonsense".to_owned(),
        String::new(),
        "x".repeat(10_000),
    ];
    for claim in ["uuid", "jti", "exp", "iat", "iss", "aud", "typ"] {
        refused.push(hs256(&with(|c| {
            c.as_object_mut().unwrap().remove(claim);
        })));
    }
    for token in refused {
        unauthorised(&server.send_as(&token, "GET", ROUTE, None).await);
    }
    for headers in [
        String::new(),
        "Authorization: Basic YTpi\r\n".to_owned(),
        format!("Authorization: {good}\r\n"),
        format!("Authorization: Bearer {good}\r\nAuthorization: Bearer {good}\r\n"),
    ] {
        unauthorised(&server.raw("GET", ROUTE, &headers, b"").await);
    }
    let lower = format!("authorization: bearer {good}\r\n");
    assert_eq!(server.raw("GET", ROUTE, &lower, b"").await.status, 200);
    let in_url = server
        .raw("GET", &format!("{ROUTE}?token={good}"), "", b"")
        .await;
    unauthorised(&in_url);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decnets_tables_count() {
    let server = Server::start().await;
    let tables = server.sqlite();
    tables
        .execute_batch(
            "CREATE TABLE users (uuid TEXT PRIMARY KEY, username TEXT, password_hash TEXT, role TEXT, tokens_valid_from DATETIME);
             CREATE TABLE revoked_tokens (jti TEXT PRIMARY KEY, user_uuid TEXT, expires_at DATETIME);
             INSERT INTO users VALUES ('user-1', 'alice', 'x', 'admin', NULL), ('user-2', 'bob', 'x', 'viewer', NULL),
                 ('user-3', 'carol', 'x', 'owner', NULL);
             INSERT INTO revoked_tokens VALUES ('jti-revoked', 'user-1', '2999-01-01 00:00:00');",
        )
        .unwrap();
    let get = async |claims: &Value| server.send_as(&hs256(claims), "GET", ROUTE, None).await;
    let of = |uuid: &str| {
        let mut claims = claims();
        claims["uuid"] = json!(uuid);
        claims
    };
    assert_eq!(get(&of("user-1")).await.status, 200, "the row's role");
    get(&of("user-2"))
        .await
        .problem(403, "Insufficient permissions");
    get(&of("user-3"))
        .await
        .problem(403, "Insufficient permissions");
    unauthorised(&get(&of("user-4")).await);

    // Both count for tokens with a role of their own, too.
    let revoked = with(|c| c["jti"] = json!("jti-revoked"));
    unauthorised(&get(&revoked).await);
    let set = |at: &str| {
        let changed = tables.execute("UPDATE users SET tokens_valid_from = ?1", [at]);
        assert_eq!(changed.unwrap(), 3);
    };
    set("2999-01-01 00:00:00.000000");
    unauthorised(&get(&of("user-1")).await);
    unauthorised(&get(&with(|_| {})).await);
    set("2020-01-01 00:00:00");
    assert_eq!(get(&of("user-1")).await.status, 200);

    // DECNET compares whole seconds: a login in the second of a password change counts.
    set("2026-04-24 12:00:00.900000");
    let cutoff = 1_777_032_000;
    let minted_at = |second: u64| {
        let mut claims = of("user-1");
        claims["iat"] = json!(second);
        claims
    };
    assert_eq!(get(&minted_at(cutoff)).await.status, 200);
    unauthorised(&get(&minted_at(cutoff - 1)).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_change_the_password_may_do_nothing_else() {
    let server = Server::start().await;
    server
        .sqlite()
        .execute_batch(
            "CREATE TABLE users (uuid TEXT PRIMARY KEY, username TEXT, role TEXT, must_change_password BOOLEAN NOT NULL);
             INSERT INTO users VALUES ('user-1', 'alice', 'admin', 1), ('user-2', 'bob', 'admin', 0);",
        )
        .unwrap();
    for (uuid, role) in [("user-1", None), ("user-1", Some("admin"))] {
        let mut claims = claims();
        claims["uuid"] = json!(uuid);
        if let Some(role) = role {
            claims["role"] = json!(role);
        }
        for route in [ROUTE, "/api/v1/status"] {
            let reply = server.send_as(&hs256(&claims), "GET", route, None).await;
            reply.problem(
                403,
                "Password change required before accessing this resource",
            );
        }
    }
    let mut other = claims();
    other["uuid"] = json!("user-2");
    let reply = server.send_as(&hs256(&other), "GET", ROUTE, None).await;
    assert_eq!(reply.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles() {
    let server = Server::start().await;
    let event = json!({"topic": "attacker.x"});
    let path = format!("{ROUTE}/{}", server.create("siem").await);
    let test = format!("{path}/test");
    for role in [Role::Viewer, Role::Publisher] {
        let token = token(role);
        for (method, path) in [
            ("GET", ROUTE),
            ("POST", ROUTE),
            ("GET", &path),
            ("PATCH", &path),
            ("DELETE", &path),
            ("POST", &test),
        ] {
            let reply = server.send_as(&token, method, path, None).await;
            reply.problem(403, "Insufficient permissions");
        }
    }
    for (role, status) in [
        (Role::Admin, 202),
        (Role::Publisher, 202),
        (Role::Viewer, 403),
    ] {
        let reply = server
            .send_as(&token(role), "POST", "/api/v1/events", Some(&event))
            .await;
        assert_eq!(reply.status, status, "{role}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_looked_at_first() {
    let server = Server::start().await;
    // Neither the body nor the subscription matters to somebody without a token.
    for (method, path) in [
        ("POST", ROUTE.to_owned()),
        ("PATCH", format!("{ROUTE}/missing")),
        ("GET", format!("{ROUTE}/missing")),
        ("POST", "/api/v1/events".to_owned()),
    ] {
        unauthorised(
            &server
                .raw(method, &path, "Content-Type: text/plain\r\n", b"{")
                .await,
        );
    }
    // Nor does the body have to arrive.
    let announced = format!(
        "POST {ROUTE} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 5000000\r\n\r\n"
    );
    unauthorised(&crate::client::exchange(server.addr, announced.into_bytes()).await);
    server.stop().await;
}
