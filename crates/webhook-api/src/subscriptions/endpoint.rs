//! Where a test ping goes: as a delivery would, with the subscription's time-out and headers.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use webhook_delivery::Endpoint;
use webhook_model::{Header, Subscription};

pub(super) fn of(subscription: Subscription) -> Endpoint {
    let settings = subscription.settings;
    Endpoint {
        timeout: Some(Duration::from_secs(settings.timeout_seconds().into())),
        headers: settings.headers().iter().filter_map(header).collect(),
        ..Endpoint::new(subscription.url, subscription.secret)
    }
}

/// Whatever was stored passed the model's rules, which are stricter than these.
fn header(header: &Header) -> Option<(HeaderName, HeaderValue)> {
    let name = header.name().parse().ok()?;
    let mut value = HeaderValue::from_str(header.value().expose()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}
