//! How deliveries are made: the fields of a subscription that `webhook_model::Settings` checks.

use http::HeaderName;
use webhook_delivery::is_custom_header;
use webhook_model::{FieldError, Header, Settings, SettingsError};

use crate::fields::{Fields, shown};

/// What answers show instead of a header's value, and what keeps it in a PATCH.
pub(in crate::subscriptions) const REDACTED: &str = "***";

/// The settings that a request names. Each is within its bounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SettingsPatch {
    max_in_flight: Option<u32>,
    rate_per_second: Option<u32>,
    burst: Option<u32>,
    ordered: Option<bool>,
    timeout_seconds: Option<u32>,
    redelivery_schedule: Option<Vec<u32>>,
    headers: Option<Vec<NamedHeader>>,
}

/// A header with its value, or the name of one that keeps it.
#[derive(Debug, Clone, PartialEq)]
enum NamedHeader {
    Given(Header),
    Kept(String),
}

impl SettingsPatch {
    /// Takes them out of a request; what is wrong stays with the fields.
    pub(super) fn read(fields: &mut Fields) -> Self {
        let any = Settings::default;
        let kept = |value: u32, checked: Result<Settings, SettingsError>| checked.map(|_| value);
        Self {
            max_in_flight: fields.number("max_in_flight", |value| {
                kept(value, any().with_max_in_flight(value))
            }),
            rate_per_second: fields.number("rate_per_second", |value| {
                kept(value, any().with_rate_per_second(value))
            }),
            burst: fields.number("burst", |value| {
                kept(value, any().with_burst(some_burst(value)))
            }),
            ordered: fields.flag("ordered"),
            timeout_seconds: fields.number("timeout_seconds", |value| {
                kept(value, any().with_timeout_seconds(value))
            }),
            redelivery_schedule: fields.numbers("redelivery_schedule", |delays| {
                any()
                    .with_redelivery_schedule(delays)
                    .map(|settings| settings.redelivery_schedule().to_vec())
            }),
            headers: fields.texts("headers", header),
        }
    }

    /// Whether no header is to keep a value that there is.
    pub(super) fn gives_all_headers(&self) -> bool {
        let headers = self.headers.as_ref();
        headers.is_some_and(|named| {
            (named.iter()).all(|header| matches!(header, NamedHeader::Given(_)))
        })
    }

    /// These settings, and those of `old` that are not named.
    pub(super) fn applied(self, old: &Settings) -> Result<Settings, FieldError> {
        let headers = match self.headers {
            None => old.headers().to_vec(),
            Some(named) => headers(named, old.headers())?,
        };
        let burst = self.burst.map_or(old.burst(), some_burst);
        let schedule = self.redelivery_schedule;
        old.clone()
            .with_ordered(self.ordered.unwrap_or(old.ordered()))
            .with_max_in_flight(self.max_in_flight.unwrap_or(old.max_in_flight()))
            .and_then(|new| {
                new.with_rate_per_second(self.rate_per_second.unwrap_or(old.rate_per_second()))
            })
            .and_then(|new| new.with_burst(burst))
            .and_then(|new| {
                new.with_timeout_seconds(self.timeout_seconds.unwrap_or(old.timeout_seconds()))
            })
            .and_then(|new| {
                new.with_redelivery_schedule(
                    schedule.unwrap_or_else(|| old.redelivery_schedule().to_vec()),
                )
            })
            .and_then(|new| new.with_headers(headers))
            // Each was checked when it was read; only the number of headers is news.
            .map_err(|error| FieldError::new("headers", error.to_string()))
    }
}

/// 0 stands for what a null in a PATCH cannot: back to one second's worth.
fn some_burst(value: u32) -> Option<u32> {
    Some(value).filter(|burst| *burst > 0)
}

fn header(name: &str, value: &str) -> Result<NamedHeader, SettingsError> {
    let custom = name
        .parse::<HeaderName>()
        .is_ok_and(|name| is_custom_header(&name));
    if !custom {
        return Err(SettingsError::HeaderName(shown(name)));
    }
    if value == REDACTED {
        return Ok(NamedHeader::Kept(name.to_ascii_lowercase()));
    }
    Header::parse(name, value).map(NamedHeader::Given)
}

fn headers(named: Vec<NamedHeader>, old: &[Header]) -> Result<Vec<Header>, FieldError> {
    let mut headers: Vec<Header> = Vec::with_capacity(named.len());
    for header in named {
        let header = match header {
            NamedHeader::Given(header) => header,
            NamedHeader::Kept(name) => {
                let kept = old.iter().find(|header| header.name() == name).cloned();
                kept.ok_or_else(|| {
                    let detail = format!("{REDACTED} keeps a value, and there is none yet");
                    FieldError::new(format!("headers.{}", shown(&name)), detail)
                })?
            }
        };
        if headers.iter().any(|other| other.name() == header.name()) {
            let field = format!("headers.{}", shown(header.name()));
            let detail = "is given twice; upper and lower case make no difference";
            return Err(FieldError::new(field, detail));
        }
        headers.push(header);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
