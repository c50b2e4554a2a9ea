//! What a server's "no" says: RFC 9457 problems become sentences.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use webhook_model::FieldError;

/// The server's refusal, as RFC 9457 problem.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.sentence())]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// One plain sentence.
    pub(crate) detail: String,
    /// The fields that are wrong.
    pub(crate) errors: Vec<FieldError>,
    /// How long to stay away.
    pub(crate) retry_after: Option<Duration>,
    error_id: Option<String>,
}

impl Refusal {
    /// Reads what came with a status that is no success.
    pub(super) fn read(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Body {
            detail: String,
            errors: Vec<Field>,
            error_id: Option<String>,
        }
        #[derive(Deserialize)]
        struct Field {
            field: String,
            detail: String,
        }
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let detail = if body.detail.is_empty() {
            format!("the server answered {status}; is it a decnet API?")
        } else {
            body.detail
        };
        let errors = body
            .errors
            .into_iter()
            .map(|e| FieldError {
                field: e.field,
                detail: e.detail,
            })
            .collect();
        Self {
            status,
            detail,
            errors,
            retry_after,
            error_id: body.error_id,
        }
    }

    fn sentence(&self) -> String {
        let status = self.status.as_u16();
        let mut text = match &self.errors[..] {
            [only] => format!("{} ({status})", named(only)),
            errors => {
                let lines = errors.iter().map(|error| format!("\n  {}", named(error)));
                format!("{} ({status}){}", self.detail, lines.collect::<String>())
            }
        };
        if let Some(id) = &self.error_id {
            text.push_str(&format!("\n  error_id {id}, as in the server's log"));
        }
        if self.detail == "Delivery not found" {
            text.push_str("; `decnet deliveries list` shows those that are kept");
        }
        if self.status == StatusCode::UNAUTHORIZED {
            text.push_str("; is DECNET_TOKEN still valid, and made with this server's key?");
        }
        if self.status == StatusCode::FORBIDDEN {
            text.push_str("; the token's role does not allow this");
        }
        text
    }
}

/// What is wrong with a field; a detail that begins with its name says that once.
fn named(error: &FieldError) -> String {
    let FieldError { field, detail } = error;
    match detail.strip_prefix(field.as_str()) {
        Some(rest) if rest.starts_with(' ') => detail.clone(),
        _ => format!("{field}: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_become_sentences() {
        let body = br#"{"type":"about:blank","title":"Unprocessable Entity","status":422,
            "detail":"2 fields are wrong: name, url","errors":[
            {"field":"name","detail":"is empty"},{"field":"url","detail":"has no host"}]}"#;
        let refusal = Refusal::read(StatusCode::UNPROCESSABLE_ENTITY, None, body);
        assert_eq!(
            refusal.to_string(),
            "2 fields are wrong: name, url (422)\n  name: is empty\n  url: has no host"
        );
        let body = br#"{"detail":"timeout_seconds: timeout_seconds 61 is not within 1..60",
            "errors":[{"field":"timeout_seconds","detail":"timeout_seconds 61 is not within 1..60"}]}"#;
        let refusal = Refusal::read(StatusCode::UNPROCESSABLE_ENTITY, None, body);
        assert_eq!(
            refusal.to_string(),
            "timeout_seconds 61 is not within 1..60 (422)"
        );
        let other = Refusal::read(StatusCode::NOT_FOUND, None, b"<html>nginx</html>");
        assert!(
            other
                .to_string()
                .contains("404 Not Found; is it a decnet API?"),
            "{other}"
        );
    }
}
