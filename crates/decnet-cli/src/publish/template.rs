//! `attacker.{eventid}`: topics made of an event's own fields.

use std::{collections::HashMap, str::FromStr};

use serde_json::value::RawValue;
use webhook_model::{Topic, TopicError};

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("{0:?} has a `{{` without its `}}`, or the other way round")]
    Unbalanced(String),
    #[error("{0:?} has an empty field name; write e.g. `attacker.{{eventid}}`")]
    NoField(String),
    #[error(transparent)]
    Topic(#[from] TopicError),
}

/// Why an event gets no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RenderError {
    #[error("field {0:?} is missing")]
    Missing(String),
    #[error("field {0:?} is empty, which makes no topic")]
    Empty(String),
    #[error("field {0:?} is {1}; a topic takes a text, a number or a boolean")]
    NoText(String, &'static str),
    #[error(transparent)]
    Topic(#[from] TopicError),
}

/// The fields of a JSON object, each as it was written.
pub(crate) type FieldsOf<'a> = HashMap<String, &'a RawValue>;

/// Text with `{field}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl FromStr for TopicTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let unbalanced = || TemplateError::Unbalanced(text.into());
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (field, after) = after.split_once('}').ok_or_else(unbalanced)?;
            if before.contains('}') || field.contains('{') {
                return Err(unbalanced());
            }
            if field.is_empty() {
                return Err(TemplateError::NoField(text.into()));
            }
            parts.push(Part::Text(before.into()));
            parts.push(Part::Field(field.into()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(unbalanced());
        }
        parts.push(Part::Text(rest.into()));
        let template = Self(parts);
        // With any value that is a token, it has to be a topic.
        template.with(|_| Ok::<_, TemplateError>("x".into()))?;
        Ok(template)
    }
}

impl TopicTemplate {
    /// The topic of an event with these fields.
    pub(crate) fn render(&self, fields: &FieldsOf<'_>) -> Result<Topic, RenderError> {
        self.with(|field| {
            let value = fields
                .get(field)
                .ok_or_else(|| RenderError::Missing(field.into()))?;
            token(field, value.get())
        })
    }

    fn with<E: From<TopicError>>(
        &self,
        mut value: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Topic, E> {
        let mut topic = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => topic.push_str(text),
                Part::Field(field) => topic.push_str(&value(field)?),
            }
        }
        Ok(Topic::parse(&topic)?)
    }
}

/// A value as part of a token: what may not stand in one becomes `_`, dots too.
fn token(field: &str, json: &str) -> Result<String, RenderError> {
    let no_text = |what| Err(RenderError::NoText(field.into(), what));
    let text = match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(json)
            .or_else(|_| no_text("a text with half a surrogate pair"))?,
        Some(b'{') => return no_text("an object"),
        Some(b'[') => return no_text("a list"),
        Some(b'n') => return no_text("null"),
        _ => json.to_owned(),
    };
    if text.is_empty() {
        return Err(RenderError::Empty(field.into()));
    }
    let fits = |c: char| matches!(c, '\x21'..='\x7e') && !matches!(c, '.' | '*' | '>');
    Ok(text
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(template: &str, json: &str) -> Result<String, String> {
        let template: TopicTemplate = template.parse().unwrap();
        let fields: FieldsOf<'_> = serde_json::from_str(json).unwrap();
        template
            .render(&fields)
            .map(|t| t.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn dots_and_strangers_become_underscores() {
        for (json, expected) in [
            (
                r#"{"eventid":"cowrie.session.connect"}"#,
                "attacker.cowrie_session_connect",
            ),
            (r#"{"eventid":"a b\tc"}"#, "attacker.a_b_c"),
            (r#"{"eventid":"*>é\u0000"}"#, "attacker.____"),
            (r#"{"eventid":1.50}"#, "attacker.1_50"),
            (r#"{"eventid":true}"#, "attacker.true"),
            (
                r#"{"x":1,"eventid":18446744073709551616}"#,
                "attacker.18446744073709551616",
            ),
        ] {
            assert_eq!(
                topic("attacker.{eventid}", json).as_deref(),
                Ok(expected),
                "{json}"
            );
        }
        assert_eq!(
            topic("a.{x}-{y}.b", r#"{"x":1,"y":"z"}"#).as_deref(),
            Ok("a.1-z.b")
        );
        assert_eq!(
            topic("attacker.observed", "{}").as_deref(),
            Ok("attacker.observed")
        );
    }

    #[test]
    fn a_field_that_makes_no_token_is_named() {
        for (json, expected) in [
            ("{}", "field \"f\" is missing"),
            (r#"{"f":""}"#, "field \"f\" is empty, which makes no topic"),
            (
                r#"{"f":null}"#,
                "field \"f\" is null; a topic takes a text, a number or a boolean",
            ),
            (
                r#"{"f":{}}"#,
                "field \"f\" is an object; a topic takes a text, a number or a boolean",
            ),
            (
                r#"{"f":[1]}"#,
                "field \"f\" is a list; a topic takes a text, a number or a boolean",
            ),
        ] {
            assert_eq!(topic("a.{f}", json), Err(expected.into()), "{json}");
        }
        let long = format!(r#"{{"f":"{}"}}"#, "x".repeat(300));
        assert!(
            topic("a.{f}", &long)
                .unwrap_err()
                .contains("longer than 255")
        );
    }

    #[test]
    fn templates_that_can_make_no_topic_are_refused_at_once() {
        for wrong in [
            "a.{f",
            "a.f}",
            "a.{{f}}",
            "a.{}",
            "",
            "a..{f}",
            "a b.{f}",
            "attacker.>",
        ] {
            assert!(wrong.parse::<TopicTemplate>().is_err(), "{wrong:?}");
        }
    }
}
