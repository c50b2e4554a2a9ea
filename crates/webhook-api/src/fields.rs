//! Takes a JSON object apart field by field and collects everything that is wrong with it.

use std::fmt::Display;

use serde_json::{Map, Value};
use webhook_model::FieldError;

use crate::problem::Problem;

/// Most entries of a list. Each pattern may become a consumer on the bus.
pub(crate) const MAX_LIST_ENTRIES: usize = 256;
/// What an answer shows of an unknown field's name.
const MAX_SHOWN_CHARS: usize = 80;

/// The fields of a request that nobody has asked for yet, and the errors so far. `null` is absent.
pub(crate) struct Fields {
    members: Map<String, Value>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Reads a JSON object.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self {
                members,
                known: Vec::new(),
                errors: Vec::new(),
            }),
            Ok(_) => Err(Problem::Invalid(vec![FieldError::new(
                "body",
                "must be a JSON object",
            )])),
            Err(error) => Err(malformed(&error)),
        }
    }

    /// A text that parses.
    pub(crate) fn text<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = match self.take(name)? {
            Value::String(text) => parse(&text).map_err(|error| error.to_string()),
            other => Err(format!("must be a string, not {}", kind(&other))),
        };
        parsed
            .map_err(|detail| self.errors.push(FieldError::new(name, detail)))
            .ok()
    }

    /// A text that parses and must be there.
    pub(crate) fn required_text<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if matches!(self.members.get(name), None | Some(Value::Null)) {
            self.take(name);
            self.errors.push(FieldError::new(name, "is required"));
            return None;
        }
        self.text(name, parse)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, name: &'static str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(flag) => Some(flag),
            other => {
                let detail = format!("must be true or false, not {}", kind(&other));
                self.errors.push(FieldError::new(name, detail));
                None
            }
        }
    }

    /// A list of texts each of which parses.
    pub(crate) fn list<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let entries = match self.take(name)? {
            Value::Array(entries) if entries.len() <= MAX_LIST_ENTRIES => entries,
            other => {
                let detail = match other {
                    Value::Array(entries) => format!(
                        "has {} entries; at most {MAX_LIST_ENTRIES} are taken",
                        entries.len()
                    ),
                    other => format!("must be a list of strings, not {}", kind(&other)),
                };
                self.errors.push(FieldError::new(name, detail));
                return None;
            }
        };
        let mut list = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let parsed = match entry {
                Value::String(text) => parse(text).map_err(|error| error.to_string()),
                other => Err(format!("must be a string, not {}", kind(other))),
            };
            match parsed {
                Ok(value) => list.push(value),
                Err(detail) => {
                    let field = format!("{name}[{index}]");
                    self.errors.push(FieldError::new(field, detail));
                }
            }
        }
        Some(list)
    }

    /// Names the fields that nobody asked for, and ends with every error or none.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let known = self.known.join(", ");
        for name in self.members.keys() {
            let shown: String = name.chars().take(MAX_SHOWN_CHARS).collect();
            let detail = format!("is no field of this request; known are {known}");
            self.errors.push(FieldError::new(shown, detail));
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::Invalid(self.errors))
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.members.remove(name).filter(|value| !value.is_null())
    }
}

/// 400, with where.
pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    Problem::Malformed(format!("The body is not valid JSON: {error}"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
