//! Every route, asked by everybody there can be.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use webhook_api::tokens::{self, JwtSecret, Role};
use webhook_model::TopicPattern;

use crate::server::{JWT_KEY, Server, publisher, token};

/// Who may use a route.
#[derive(Clone, Copy, PartialEq)]
enum For {
    Everybody,
    Readers,
    Publishers,
    Admins,
}
use For::{Admins, Everybody, Publishers, Readers};

const ROUTES: [(&str, &str, For); 25] = [
    ("POST", "/api/v1/webhooks", Admins),
    ("GET", "/api/v1/webhooks", Admins),
    ("GET", "/api/v1/webhooks/{uuid}", Admins),
    ("PATCH", "/api/v1/webhooks/{uuid}", Admins),
    ("DELETE", "/api/v1/webhooks/{uuid}", Admins),
    ("POST", "/api/v1/webhooks/{uuid}/test", Admins),
    ("POST", "/api/v1/webhooks/{uuid}/replay", Admins),
    ("POST", "/api/v1/events", Publishers),
    ("GET", "/api/v1/deliveries", Readers),
    ("GET", "/api/v1/deliveries/{id}", Readers),
    ("DELETE", "/api/v1/deliveries", Admins),
    ("POST", "/api/v1/deliveries/{id}/retry", Admins),
    ("POST", "/api/v1/deliveries/{id}/skip", Admins),
    ("POST", "/api/v1/deliveries/{id}/acknowledge", Admins),
    ("POST", "/api/v1/deliveries/acknowledge", Admins),
    ("GET", "/api/v1/replays/{id}", Readers),
    ("GET", "/api/v1/status", Readers),
    ("GET", "/api/v1/tokens", Admins),
    ("DELETE", "/api/v1/tokens/{jti}", Admins),
    ("GET", "/api/v1/proof", Everybody),
    ("GET", "/healthz", Everybody),
    ("GET", "/readyz", Everybody),
    ("GET", "/metrics", Readers),
    ("GET", "/openapi.json", Everybody),
    ("HEAD", "/api/v1/status", Readers),
];

#[test]
fn the_matrix_has_every_route() {
    let document = serde_json::to_value(webhook_api::openapi()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            documented.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let asked: BTreeSet<String> = (ROUTES.iter())
        .filter(|(method, ..)| *method != "HEAD")
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    assert_eq!(asked, documented);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asked_by_everybody() {
    let server = Server::start().await;
    let attackers = [TopicPattern::parse("attacker.>").unwrap()];
    let bound = publisher(|grant| grant.topics = &attackers);
    let bound_admin = publisher(|grant| {
        grant.role = Role::Admin;
        grant.topics = &attackers;
    });
    let revoked = publisher(|grant| grant.role = Role::Admin);
    let path = format!("/api/v1/tokens/{}", revoked.jti);
    assert_eq!(server.send("DELETE", &path, None).await.status, 200);
    let secret = JwtSecret::parse(JWT_KEY).unwrap();
    let expired = tokens::mint(&secret, Role::Admin, "late", Duration::ZERO);

    for (method, path, whose) in ROUTES {
        let callers = [
            ("nobody", String::new(), whose == Everybody, 401),
            ("expired", expired.clone(), whose == Everybody, 401),
            ("revoked", revoked.token.clone(), whose == Everybody, 401),
            (
                "publisher",
                token(Role::Publisher),
                matches!(whose, Everybody | Publishers),
                403,
            ),
            (
                "bound publisher",
                bound.token.clone(),
                matches!(whose, Everybody | Publishers),
                403,
            ),
            (
                "bound admin",
                bound_admin.token.clone(),
                matches!(whose, Everybody | Publishers),
                403,
            ),
            (
                "viewer",
                token(Role::Viewer),
                matches!(whose, Everybody | Readers),
                403,
            ),
            ("admin", server.admin.clone(), true, 403),
        ];
        let asked = path
            .replace("{uuid}", "missing")
            .replace("{id}", "missing")
            .replace("{jti}", "missing");
        let event = json!({"topic": "attacker.observed"});
        let body = (path == "/api/v1/events").then_some(&event);
        for (who, token, may, refusal) in callers {
            let reply = server.send_as(&token, method, &asked, body).await;
            let name = format!("{method} {path} by {who}: {}", reply.status);
            if may {
                assert!(![401, 403].contains(&reply.status), "{name}");
            } else {
                assert_eq!(reply.status, refusal, "{name}");
            }
        }
    }
    server.stop().await;
}
