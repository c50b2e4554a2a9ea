//! Takes a JSON object apart field by field and collects everything that is wrong with it.

use std::fmt::Display;

use actix_web::web;
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
    noun: &'static str,
}

impl Fields {
    /// Reads a JSON object.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self::new(members, "field")),
            Ok(_) => Err(Problem::Invalid(vec![FieldError::new(
                "body",
                "must be a JSON object",
            )])),
            Err(error) => Err(malformed(&error)),
        }
    }

    /// Reads the query of a URL. What is empty is absent, as forms send it.
    pub(crate) fn query(query: &str) -> Self {
        let mut fields = Self::new(Map::new(), "parameter");
        let pairs = web::Query::<Vec<(String, String)>>::from_query(query);
        for (name, value) in pairs.map(web::Query::into_inner).unwrap_or_default() {
            let value = Value::String(value);
            if fields.members.insert(name.clone(), value).is_some() {
                let detail = "is given more than once";
                fields.errors.push(FieldError::new(shown(&name), detail));
            }
        }
        fields.members.retain(|_, value| value.as_str() != Some(""));
        fields
    }

    fn new(members: Map<String, Value>, noun: &'static str) -> Self {
        Self {
            members,
            known: Vec::new(),
            errors: Vec::new(),
            noun,
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

    /// A whole number that is taken.
    pub(crate) fn number<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(u32) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = whole(&self.take(name)?)
            .and_then(|number| parse(number).map_err(|error| error.to_string()));
        parsed
            .map_err(|detail| self.errors.push(FieldError::new(name, detail)))
            .ok()
    }

    /// A list of whole numbers that is taken as a whole.
    pub(crate) fn numbers<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(Vec<u32>) -> Result<T, E>,
    ) -> Option<T> {
        let entries = match self.take(name)? {
            Value::Array(entries) => entries,
            other => {
                let detail = format!("must be a list of whole numbers, not {}", kind(&other));
                self.errors.push(FieldError::new(name, detail));
                return None;
            }
        };
        let mut numbers = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            match whole(entry) {
                Ok(number) => numbers.push(number),
                Err(detail) => {
                    let field = format!("{name}[{index}]");
                    self.errors.push(FieldError::new(field, detail));
                }
            }
        }
        if numbers.len() < entries.len() {
            return None;
        }
        parse(numbers)
            .map_err(|error| self.errors.push(FieldError::new(name, error.to_string())))
            .ok()
    }

    /// An object of texts each of which is taken with its name.
    pub(crate) fn texts<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str, &str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let members = match self.take(name)? {
            Value::Object(members) => members,
            other => {
                let detail = format!("must be an object of strings, not {}", kind(&other));
                self.errors.push(FieldError::new(name, detail));
                return None;
            }
        };
        let mut texts = Vec::with_capacity(members.len());
        for (member, value) in &members {
            let parsed = match value {
                Value::String(text) => parse(member, text).map_err(|error| error.to_string()),
                other => Err(format!("must be a string, not {}", kind(other))),
            };
            match parsed {
                Ok(value) => texts.push(value),
                Err(detail) => {
                    let field = format!("{name}.{}", shown(member));
                    self.errors.push(FieldError::new(field, detail));
                }
            }
        }
        Some(texts)
    }

    /// Adds what is wrong with a field beyond its own value.
    pub(crate) fn refuse(&mut self, name: &str, detail: impl Into<String>) {
        self.errors.push(FieldError::new(name, detail.into()));
    }

    /// Names the fields that nobody asked for, and ends with every error or none.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let (known, noun) = (self.known.join(", "), self.noun);
        for name in self.members.keys() {
            let detail = format!("is no {noun} of this request; known are {known}");
            self.errors.push(FieldError::new(shown(name), detail));
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

/// A name of the caller's, cut to what an answer shows.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(MAX_SHOWN_CHARS).collect()
}

fn whole(value: &Value) -> Result<u32, String> {
    match value {
        Value::Number(number) => number
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| {
                format!(
                    "must be a whole number from 0 to {}, not {number}",
                    u32::MAX
                )
            }),
        other => Err(format!("must be a whole number, not {}", kind(other))),
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
