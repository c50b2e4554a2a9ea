//! What a create and a PATCH may say.

mod settings;

use std::collections::BTreeMap;

use utoipa::ToSchema;
use webhook_delivery::{EgressPolicy, Refusal};
use webhook_model::{
    EndpointUrl, FieldError, Secret, Settings, SimpleEvent, SubscriptionName, TopicPattern,
    merge_patterns,
};
use webhook_store::{Met, NewSubscription, SettingsChange, SubscriptionPatch};

pub(super) use self::settings::REDACTED;
use self::settings::SettingsPatch;
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
    /// http or https. A user name and a password are sent as `Authorization: Basic` and shown as
    /// `***`. Private addresses are refused unless the server's settings allow them.
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
    /// Most deliveries that are worked on at the same time.
    #[schema(default = 64, minimum = 1, maximum = 1024)]
    max_in_flight: Option<u32>,
    /// Most attempts a second; 0 is unlimited.
    #[schema(default = 0, maximum = 10000)]
    rate_per_second: Option<u32>,
    /// How many attempts may go at once after a quiet time; 0 is one second's worth.
    #[schema(default = 0, maximum = 10000)]
    burst: Option<u32>,
    /// Whether events go out one by one in the order they were published.
    #[schema(default = false)]
    ordered: Option<bool>,
    /// Time-out of one attempt.
    #[schema(default = 10, minimum = 1, maximum = 60)]
    timeout_seconds: Option<u32>,
    /// Seconds after which a failed delivery is tried again, each from the time before; at most 30
    /// days in all. An empty list makes it a dead letter at once.
    #[schema(max_items = 64, default = json!([30, 120, 600, 1800, 3600, 10800, 21600, 43200]))]
    redelivery_schedule: Option<Vec<u32>>,
    /// Sent along with every delivery. Values are secrets: answers show `***`. Names that frame
    /// the request or that delivery itself sets are refused.
    #[schema(example = json!({"authorization": "Bearer of-the-receiver"}))]
    headers: Option<BTreeMap<String, String>>,
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
    /// A new endpoint. Where `***` is sent for its user name and password, those that there are stay,
    /// for the same scheme, host and port.
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
    /// Most deliveries that are worked on at the same time.
    #[schema(minimum = 1, maximum = 1024)]
    max_in_flight: Option<u32>,
    /// Most attempts a second; 0 is unlimited.
    #[schema(maximum = 10000)]
    rate_per_second: Option<u32>,
    /// How many attempts may go at once after a quiet time; 0 is one second's worth.
    #[schema(maximum = 10000)]
    burst: Option<u32>,
    /// Whether events go out one by one in the order they were published.
    ordered: Option<bool>,
    /// Time-out of one attempt.
    #[schema(minimum = 1, maximum = 60)]
    timeout_seconds: Option<u32>,
    /// The whole new list.
    #[schema(max_items = 64)]
    redelivery_schedule: Option<Vec<u32>>,
    /// All headers anew. A header that there is keeps its value where `***` is sent.
    headers: Option<BTreeMap<String, String>>,
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
    let url = fields.required_text("url", |text| new_url(text, egress));
    let secret = fields.text("secret", secret);
    let patterns = patterns(&mut fields);
    let enabled = fields.flag("enabled");
    let settings = SettingsPatch::read(&mut fields).applied(&Settings::default());
    let settings = settings
        .map_err(|error| fields.refuse(&error.field, error.detail))
        .unwrap_or_default();
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
        settings,
        enabled: enabled.unwrap_or(true),
    })
}

/// A PATCH whose settings still have to meet those that there are.
#[derive(Debug, Clone)]
pub(super) struct Patch {
    rest: SubscriptionPatch,
    settings: SettingsPatch,
}

impl Patch {
    /// Whether what it leads to depends on the settings that there are.
    pub(super) fn meets_settings(&self) -> bool {
        self.settings != SettingsPatch::default() || self.rest.url.is_some()
    }

    /// All but the settings.
    pub(super) fn rest(&self) -> &SubscriptionPatch {
        &self.rest
    }

    /// The endpoint that it is to have.
    pub(super) fn url(&self) -> Option<&EndpointUrl> {
        self.rest.url.as_ref()
    }

    /// Whether its URL is one as it was shown, without the credentials that it has.
    pub(super) fn lacks_credentials(&self) -> bool {
        (self.rest.url.as_ref()).is_some_and(EndpointUrl::is_redacted)
    }

    /// The patch with the credentials of the URL that there is, if that can be read.
    pub(super) fn with_credentials_of(mut self, old: &Met) -> Result<Self, Problem> {
        if let Some(url) = self.rest.url {
            let known = (!old.mends("url")).then_some(&old.subscription.url);
            let Some(url) = known.and_then(|known| url.unredacted(known)) else {
                return Err(Problem::Invalid(vec![FieldError::new("url", REDACTED_URL)]));
            };
            self.rest.url = Some(url);
        }
        Ok(self)
    }

    /// What the store has to write, all settings among it.
    ///
    /// Headers are secrets of the endpoint that they were given for, so none goes along to another
    /// origin unless whoever sends it there has it. Where the URL that there is cannot be read, any is
    /// another.
    pub(super) fn onto(self, met: Met) -> Result<SubscriptionPatch, Problem> {
        let hides = met.mends("url");
        let old = met.subscription;
        let url = self.rest.url.as_ref().map(EndpointUrl::url);
        let moves = url.is_some_and(|url| hides || url.origin() != old.url.url().origin());
        if moves && !old.settings.headers().is_empty() && !self.settings.gives_all_headers() {
            let detail = "must be given again, with their values, or as {} for none: the URL leads to \
                          another origin than the one that they were given for";
            return Err(Problem::Invalid(vec![FieldError::new("headers", detail)]));
        }
        let from = old.settings;
        let to = self.settings.applied(&from);
        let to = to.map_err(|error| Problem::Invalid(vec![error]))?;
        Ok(SubscriptionPatch {
            settings: Some(SettingsChange { from, to }),
            ..self.rest
        })
    }

    /// What the store has to write when there are no settings in it.
    pub(super) fn without_settings(self) -> SubscriptionPatch {
        self.rest
    }
}

/// Reads the body of a PATCH.
pub(super) fn patch(body: &[u8], egress: &EgressPolicy) -> Result<Patch, Problem> {
    let mut fields = Fields::read(body)?;
    let patch = SubscriptionPatch {
        name: fields.text("name", SubscriptionName::parse),
        url: fields.text("url", |text| allowed_url(text, egress)),
        secret: fields.text("secret", secret),
        topic_patterns: patterns(&mut fields),
        settings: None,
        enabled: fields.flag("enabled"),
    };
    let settings = SettingsPatch::read(&mut fields);
    fields.finish()?;
    if patch.topic_patterns.as_ref().is_some_and(Vec::is_empty) {
        return Err(Problem::PatternsCleared);
    }
    Ok(Patch {
        rest: patch,
        settings,
    })
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

const REDACTED_URL: &str =
    "has *** for a user name and password that are not known for this address; write them out";

fn new_url(text: &str, egress: &EgressPolicy) -> Result<EndpointUrl, String> {
    let url = allowed_url(text, egress)?;
    if url.is_redacted() {
        return Err(REDACTED_URL.to_owned());
    }
    Ok(url)
}

fn allowed_url(text: &str, egress: &EgressPolicy) -> Result<EndpointUrl, String> {
    let url = EndpointUrl::parse(text).map_err(|error| error.to_string())?;
    egress
        .check_url(url.url())
        .map_err(|refusal| forbidden(&refusal))?;
    Ok(url)
}

/// What is told of a URL that the egress guard refuses.
pub(super) fn forbidden(refusal: &Refusal) -> String {
    format!("forbidden: {refusal}")
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
