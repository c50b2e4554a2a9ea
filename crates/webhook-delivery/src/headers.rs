//! The names of what a receiver gets, and which other headers an endpoint may ask for.

use http::{HeaderName, header};

/// `sha256=` + hex HMAC-SHA256 of the body.
pub const SIGNATURE: HeaderName = HeaderName::from_static("x-decnet-signature");
/// The event's id, the same in every attempt.
pub const EVENT_ID: HeaderName = HeaderName::from_static("x-decnet-event-id");
/// The event's topic.
pub const EVENT_TOPIC: HeaderName = HeaderName::from_static("x-decnet-event-topic");
/// Unix seconds of the attempt.
pub const TIMESTAMP: HeaderName = HeaderName::from_static("x-decnet-timestamp");
/// The event's id (Standard Webhooks).
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
/// Unix seconds of the attempt (Standard Webhooks).
pub const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// Space-separated `v1,` + base64 HMAC-SHA256 (Standard Webhooks).
pub const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Prefixes of names that belong to the two signature schemes, now and later.
const OURS: [&str; 2] = ["x-decnet-", "webhook-"];

/// What frames the request or belongs to one hop (RFC 9110 §7.6.1), and what this crate sets.
const FIXED: [HeaderName; 14] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
];

/// Whether an endpoint may ask for this header. The others are this crate's own or frame the
/// request; asked for, they are left out.
pub fn is_custom_header(name: &HeaderName) -> bool {
    !FIXED.contains(name) && !OURS.iter().any(|prefix| name.as_str().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_cannot_touch_signatures_or_framing() {
        for name in ["authorization", "x-api-key", "accept", "x-request-id"] {
            assert!(is_custom_header(&name.parse().unwrap()), "{name}");
        }
        for name in [
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "connection",
            "user-agent",
            "X-DECNET-Signature",
            "x-decnet-anything",
            "webhook-id",
            "proxy-authorization",
        ] {
            assert!(!is_custom_header(&name.parse().unwrap()), "{name}");
        }
    }
}
