//! Calls of pages, which a browser makes for them: DECNET's dashboard lives on another port.

use crate::server::Server;

const DASHBOARD: &str = "http://localhost:8080";
const ROUTE: &str = "/api/v1/webhooks";

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_configured_origins_may_call() {
    let server = Server::start_for_origins(&[DASHBOARD, "https://master.example"]).await;
    for method in ["GET", "POST", "PATCH", "DELETE"] {
        let headers = format!(
            "Origin: {DASHBOARD}\r\nAccess-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: authorization,content-type\r\n"
        );
        // A preflight has no token.
        let reply = server.raw("OPTIONS", ROUTE, &headers, b"").await;
        assert_eq!(reply.status, 200, "{method}: {reply:?}");
        let says = |name| reply.header(name).unwrap_or_default().to_lowercase();
        assert_eq!(says("access-control-allow-origin"), DASHBOARD);
        assert!(says("access-control-allow-methods").contains(&method.to_lowercase()));
        for header in ["authorization", "content-type"] {
            assert!(says("access-control-allow-headers").contains(header));
        }
        assert!(says("vary").contains("origin"));
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
    // The answers, errors too, can be read.
    for (token, status) in [(server.admin.as_str(), 200), ("none", 401)] {
        let headers = format!("Origin: {DASHBOARD}\r\nAuthorization: Bearer {token}\r\n");
        let reply = server.raw("GET", ROUTE, &headers, b"").await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("access-control-allow-origin"), Some(DASHBOARD));
        assert!(
            reply
                .header("vary")
                .unwrap()
                .to_lowercase()
                .contains("origin")
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_page_may() {
    for origins in [&[DASHBOARD][..], &[]] {
        let server = Server::start_for_origins(origins).await;
        for origin in ["http://localhost:8081", "https://localhost:8080", "null"] {
            let headers = format!(
                "Origin: {origin}\r\nAuthorization: Bearer {}\r\n",
                server.admin
            );
            let reply = server.raw("GET", ROUTE, &headers, b"").await;
            assert_eq!(reply.header("access-control-allow-origin"), None);
            let preflight = format!("Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n");
            let reply = server.raw("OPTIONS", ROUTE, &preflight, b"").await;
            assert!(reply.status >= 400, "{reply:?}");
            assert_eq!(reply.header("access-control-allow-origin"), None);
        }
        server.stop().await;
    }
}
