//! Subscriptions by their names: people say names, routes want uuids.

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::{Client, decode};

const ROUTE: &str = "/api/v1/webhooks";

/// A subscription as far as naming it goes.
#[derive(Deserialize)]
pub(crate) struct Named {
    pub(crate) uuid: String,
    pub(crate) name: String,
    enabled: bool,
    auto_disabled_at: Option<String>,
}

impl Named {
    /// `active`, `paused` or `tripped`.
    pub(crate) fn state(&self) -> &'static str {
        match (self.enabled, &self.auto_disabled_at) {
            (true, _) => "active",
            (false, None) => "paused",
            (false, Some(_)) => "tripped",
        }
    }
}

/// All subscriptions, unless the token may not read them: a viewer's may not.
pub(crate) struct Names(Option<Vec<Named>>);

impl Names {
    /// Asks the server.
    pub(crate) async fn load(client: &Client) -> anyhow::Result<Self> {
        match client.ask(Method::GET, ROUTE, None).await? {
            Ok(body) => Ok(Self(Some(decode(&body)?))),
            Err(refusal) if refusal.status == StatusCode::FORBIDDEN => Ok(Self(None)),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The uuid of the subscription with this id or, failing that, this name.
    pub(crate) fn uuid(&self, wanted: &str) -> anyhow::Result<String> {
        let Some(all) = &self.0 else {
            if looks_like_uuid(wanted) {
                return Ok(wanted.to_owned());
            }
            bail!(
                "this token's role may not read the names of subscriptions; give the uuid instead \
                 of {wanted:?}, or use an admin's token"
            );
        };
        let found = all
            .iter()
            .find(|one| one.uuid == wanted)
            .or_else(|| all.iter().find(|one| one.name == wanted));
        match found {
            Some(found) => Ok(found.uuid.clone()),
            None => bail!(
                "no subscription has the id or name {wanted:?}; `decnet subscriptions list` shows \
                 all"
            ),
        }
    }

    /// The same, and the uuid of one that may be deleted.
    pub(crate) fn uuid_of_any(&self, wanted: &str) -> anyhow::Result<String> {
        match self.uuid(wanted) {
            Err(_) if looks_like_uuid(wanted) => Ok(wanted.to_owned()),
            found => found,
        }
    }

    /// What to call a subscription: its name, or the uuid of one that is not known (any more).
    pub(crate) fn name<'a>(&'a self, uuid: &'a str) -> &'a str {
        self.get(uuid).map_or(uuid, |one| &one.name)
    }

    /// The subscription with this uuid.
    pub(crate) fn get(&self, uuid: &str) -> Option<&Named> {
        self.0.iter().flatten().find(|one| one.uuid == uuid)
    }

    /// All that there are; an error where the token may not know them.
    pub(crate) fn all(&self) -> anyhow::Result<&[Named]> {
        self.0.as_deref().context(
            "this token's role may not list subscriptions; use an admin's token (`decnet token \
             create --role admin`)",
        )
    }
}

/// The route of a subscription. Rows that DECNET wrote may have any text as their id.
pub(crate) fn route(uuid: &str) -> anyhow::Result<String> {
    Ok(format!("{ROUTE}/{}", segment(uuid)?))
}

/// Any text as one segment of a path.
pub(crate) fn segment(text: &str) -> anyhow::Result<String> {
    let mut url = Url::parse("http://x").context("a constant URL")?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.push(text);
    }
    Ok(url.path().trim_start_matches('/').to_owned())
}

pub(crate) fn looks_like_uuid(text: &str) -> bool {
    text.len() == 36
        && text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_come_before_names_and_viewers_need_them() {
        let one = |uuid: &str, name: &str| Named {
            uuid: uuid.into(),
            name: name.into(),
            enabled: true,
            auto_disabled_at: None,
        };
        let names = Names(Some(vec![one("a", "b"), one("b", "c")]));
        assert_eq!(names.uuid("b").unwrap(), "b");
        assert_eq!(names.uuid("c").unwrap(), "b");
        assert_eq!((names.name("b"), names.name("z")), ("c", "z"));
        let error = names.uuid("z").unwrap_err().to_string();
        assert!(error.contains("decnet subscriptions list"), "{error}");

        let blind = Names(None);
        let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        assert_eq!(blind.uuid(uuid).unwrap(), uuid);
        assert!(blind.uuid("siem").unwrap_err().to_string().contains("uuid"));
    }

    #[test]
    fn any_text_is_a_segment() {
        assert_eq!(segment("a/b c?d").unwrap(), "a%2Fb%20c%3Fd");
    }
}
