//! What a create and a PATCH may say.

use utoipa::ToSchema;
use webhook_delivery::EgressPolicy;
use webhook_model::{
    EndpointUrl, Secret, SimpleEvent, SubscriptionName, TopicPattern, merge_patterns,
};
use webhook_store::{NewSubscription, SubscriptionPatch};

use crate::{fields::Fields, problem::Problem};

/// A subscription to be created.
#[derive(ToSchema)]
#[schema(as = NewSubscription, example = json!({
    "name": "siem",
    "url": "https://siem.example/hooks/decnet",
    "simple_events": ["AttackerDetail"],
    "topic_patterns": ["canary.>"]
}))]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `create` reads")]
pub(crate) struct CreateBody {
    /// Unique, case-sensitive.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// http or https, without user name and password. Private addresses are refused unless the
    /// server's settings allow them.
    #[schema(max_length = 2083, format = "uri")]
    url: String,
    /// Signs the deliveries. Generated when absent: `whsec_` + base64 of 32 random bytes.
    #[schema(min_length = 16, max_length = 256)]
    secret: Option<String>,
    /// Names for groups of patterns; they come first in the merged list.
    #[schema(max_items = 256)]
    simple_events: Option<Vec<SimpleEventName>>,
    /// Dot-separated tokens; `*` is one token, `>` at the end one or more.
    #[schema(max_items = 256)]
    topic_patterns: Option<Vec<String>>,
    /// Whether it gets events at once.
    #[schema(default = true)]
    enabled: Option<bool>,
}

/// What to change. Absent and null fields stay as they are.
#[derive(ToSchema)]
#[schema(as = SubscriptionPatch, example = json!({"enabled": false}))]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `patch` reads")]
pub(crate) struct PatchBody {
    /// A new name.
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    /// A new endpoint.
    #[schema(max_length = 2083, format = "uri")]
    url: Option<String>,
    /// A new secret. No answer shows it.
    #[schema(min_length = 16, max_length = 256)]
    secret: Option<String>,
    /// With `topic_patterns` the whole new list.
    #[schema(max_items = 256)]
    simple_events: Option<Vec<SimpleEventName>>,
    /// With `simple_events` the whole new list.
    #[schema(max_items = 256)]
    topic_patterns: Option<Vec<String>>,
    /// Activate or pause.
    enabled: Option<bool>,
}

/// `AttackerDetail` is `attacker.>`, `DeckyStatus` is `decky.*.state` and `decky.*.traffic`,
/// `SystemStatus` is `system.>`.
#[derive(ToSchema)]
#[schema(as = SimpleEvent)]
#[expect(
    dead_code,
    reason = "documents webhook_model::SimpleEvent, which knows no OpenAPI"
)]
pub(crate) enum SimpleEventName {
    AttackerDetail,
    DeckyStatus,
    SystemStatus,
}

/// Reads the body of a create.
pub(super) fn create(body: &[u8], egress: &EgressPolicy) -> Result<NewSubscription, Problem> {
    let mut fields = Fields::read(body)?;
    let name = fields.required_text("name", SubscriptionName::parse);
    let url = fields.required_text("url", |text| allowed_url(text, egress));
    let secret = fields.text("secret", secret);
    let patterns = patterns(&mut fields);
    let enabled = fields.flag("enabled");
    fields.finish()?;
    let (Some(name), Some(url)) = (name, url) else {
        unreachable!("finish() refuses what is required and missing");
    };
    let topic_patterns = patterns.unwrap_or_default();
    if topic_patterns.is_empty() {
        return Err(Problem::NoPattern);
    }
    Ok(NewSubscription {
        name,
        url,
        secret: secret.unwrap_or_else(Secret::generate),
        topic_patterns,
        enabled: enabled.unwrap_or(true),
    })
}

/// Reads the body of a PATCH.
pub(super) fn patch(body: &[u8], egress: &EgressPolicy) -> Result<SubscriptionPatch, Problem> {
    let mut fields = Fields::read(body)?;
    let patch = SubscriptionPatch {
        name: fields.text("name", SubscriptionName::parse),
        url: fields.text("url", |text| allowed_url(text, egress)),
        secret: fields.text("secret", secret),
        topic_patterns: patterns(&mut fields),
        enabled: fields.flag("enabled"),
    };
    fields.finish()?;
    if patch.topic_patterns.as_ref().is_some_and(Vec::is_empty) {
        return Err(Problem::PatternsCleared);
    }
    Ok(patch)
}

/// The merged list, or none where neither field is there.
fn patterns(fields: &mut Fields) -> Option<Vec<TopicPattern>> {
    let simple = fields.list("simple_events", str::parse::<SimpleEvent>);
    let raw = fields.list("topic_patterns", TopicPattern::parse);
    if simple.is_none() && raw.is_none() {
        return None;
    }
    Some(merge_patterns(
        &simple.unwrap_or_default(),
        &raw.unwrap_or_default(),
    ))
}

fn allowed_url(text: &str, egress: &EgressPolicy) -> Result<EndpointUrl, String> {
    let url = EndpointUrl::parse(text).map_err(|error| error.to_string())?;
    egress
        .check_url(url.url())
        .map_err(|refusal| refusal.to_string())?;
    Ok(url)
}

fn secret(text: &str) -> Result<Secret, String> {
    if text.contains('\0') {
        // PostgreSQL cannot store it.
        return Err("secret contains a NUL character".to_owned());
    }
    Secret::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
