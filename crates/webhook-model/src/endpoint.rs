use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::topic::shown;

/// Longest endpoint URL, in characters, before and after normalisation.
pub const MAX_URL_CHARS: usize = 2083;

/// Longest label of a host name, and longest host name, in bytes (RFC 1035 §2.3.4).
const MAX_LABEL_BYTES: usize = 63;
const MAX_HOST_BYTES: usize = 253;

/// Why a text is no endpoint URL. Userinfo is never shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// More than [`MAX_URL_CHARS`].
    #[error("URL has {0} characters; at most {MAX_URL_CHARS} are taken")]
    TooLong(usize),
    /// Not parsed by the WHATWG rules.
    #[error("{0:?} is no URL: {1}")]
    Malformed(String, url::ParseError),
    /// Neither http nor https.
    #[error("URL scheme {0:?} is not http or https")]
    Scheme(String),
    /// A name that DNS cannot hold.
    #[error(
        "URL host {0:?} cannot be resolved: {1}; write a name that DNS can hold, or an address"
    )]
    Host(String, HostError),
}

/// Why a host name cannot be resolved, whatever the name servers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Two dots in a row, or a dot at the beginning.
    #[error("it has an empty label")]
    EmptyLabel,
    /// A label of more than 63 bytes.
    #[error("a label has {0} bytes; at most {MAX_LABEL_BYTES} are taken")]
    LongLabel(usize),
    /// More than 253 bytes in all.
    #[error("it has {0} bytes; at most {MAX_HOST_BYTES} are taken")]
    TooLong(usize),
}

/// What stands for a user name and a password wherever a URL is shown.
const REDACTED: &str = "***";

/// An http or https URL, normalised by the WHATWG rules. A user name and a password in it are the
/// credentials of Basic authentication (RFC 7617): they are never part of a request's URL and are
/// shown as `***`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    /// Without userinfo.
    url: Url,
    credentials: Option<Box<Credentials>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Credentials {
    /// The URL with them.
    full: String,
    /// The URL with `***` in their place.
    shown: String,
    authorization: String,
}

impl EndpointUrl {
    /// Parses, normalises and checks a URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let chars = text.chars().count();
        if chars > MAX_URL_CHARS {
            return Err(UrlError::TooLong(chars));
        }
        let url = Url::parse(text).map_err(|e| UrlError::Malformed(without_userinfo(text), e))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme(shown(url.scheme())));
        }
        if url.as_str().len() > MAX_URL_CHARS {
            return Err(UrlError::TooLong(url.as_str().len()));
        }
        if let Some(Host::Domain(name)) = url.host() {
            check_host(name).map_err(|error| UrlError::Host(shown(name), error))?;
        }
        Ok(Self::split(url))
    }

    fn split(full: Url) -> Self {
        if full.username().is_empty() && full.password().is_none() {
            return Self {
                url: full,
                credentials: None,
            };
        }
        let with = |name, password| {
            let mut url = full.clone();
            // Only URLs without a host refuse, and http has none such.
            let _ = url.set_username(name);
            let _ = url.set_password(password);
            url
        };
        let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
        let mut pair = decoded(full.username());
        pair.push(b':');
        pair.extend(decoded(full.password().unwrap_or_default()));
        let credentials = Credentials {
            full: full.to_string(),
            shown: with(REDACTED, None).to_string(),
            authorization: format!("Basic {}", STANDARD.encode(pair)),
        };
        Self {
            url: with("", None),
            credentials: Some(Box::new(credentials)),
        }
    }

    /// The normalised text, credentials redacted.
    pub fn as_str(&self) -> &str {
        match &self.credentials {
            Some(credentials) => &credentials.shown,
            None => self.url.as_str(),
        }
    }

    /// The normalised text with its credentials, to be stored and nothing else.
    pub fn expose(&self) -> &str {
        match &self.credentials {
            Some(credentials) => &credentials.full,
            None => self.url.as_str(),
        }
    }

    /// The parsed URL, as requests use it: without credentials.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The value of the `Authorization` header that the URL's credentials stand for. A secret.
    pub fn authorization(&self) -> Option<&str> {
        let credentials = self.credentials.as_ref()?;
        Some(&credentials.authorization)
    }

    /// Whether it is one as it was shown, with `***` for its credentials.
    pub fn is_redacted(&self) -> bool {
        (self.credentials.as_ref()).is_some_and(|it| it.full == it.shown)
    }

    /// Puts the credentials of `old` back where this one is as it was shown. None where there are
    /// none for the same scheme, host and port: credentials are not to be sent elsewhere.
    pub fn unredacted(self, old: &Self) -> Option<Self> {
        if !self.is_redacted() {
            return Some(self);
        }
        if self.url.origin() != old.url.origin() {
            return None;
        }
        let known = Url::parse(&old.credentials.as_ref()?.full).ok()?;
        let mut full = self.url;
        full.set_username(known.username()).ok()?;
        full.set_password(known.password()).ok()?;
        Some(Self::split(full))
    }

    /// Whether deliveries would travel unencrypted.
    pub fn is_insecure(&self) -> bool {
        self.url.scheme() == "http"
    }
}

/// Whether DNS can hold a name. Which characters it has is no question of DNS: `my_receiver` is one.
fn check_host(name: &str) -> Result<(), HostError> {
    // The root's own dot.
    let name = name.strip_suffix('.').unwrap_or(name);
    for label in name.split('.') {
        match label.len() {
            0 => return Err(HostError::EmptyLabel),
            1..=MAX_LABEL_BYTES => {}
            bytes => return Err(HostError::LongLabel(bytes)),
        }
    }
    match name.len() {
        ..=MAX_HOST_BYTES => Ok(()),
        bytes => Err(HostError::TooLong(bytes)),
    }
}

/// What an error may show of a text that did not parse.
fn without_userinfo(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => shown(&format!("…@{rest}")),
        None => shown(text),
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for EndpointUrl {
    /// Scheme and host alone: paths and queries of chat and SOAR hooks are credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        write!(f, "EndpointUrl({}://{host}/…)", self.url.scheme())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_by_the_whatwg_rules() {
        for (given, kept) in [
            ("HTTPS://Example.COM", "https://example.com/"),
            (
                "http://example.com:80/a/../b?q=1",
                "http://example.com/b?q=1",
            ),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ] {
            assert_eq!(EndpointUrl::parse(given).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn names_what_is_wrong() {
        assert!(matches!(
            EndpointUrl::parse("nonsense"),
            Err(UrlError::Malformed(..))
        ));
        assert!(matches!(
            EndpointUrl::parse("http://"),
            Err(UrlError::Malformed(..))
        ));
        assert!(matches!(
            EndpointUrl::parse("ftp://a/"),
            Err(UrlError::Scheme(_))
        ));
        let long = format!("http://a/{}", "x".repeat(2083));
        assert!(matches!(
            EndpointUrl::parse(&long),
            Err(UrlError::TooLong(_))
        ));
    }

    #[test]
    fn any_name_that_dns_can_hold_is_a_host() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        for host in [
            "my_receiver",
            "my_receiver:8080",
            "-a-.0_b",
            "siem.",
            "a--b.example",
            &label,
            &longest,
            &format!("{longest}."),
        ] {
            let url = format!("http://{host}/");
            assert_eq!(EndpointUrl::parse(&url).unwrap().as_str(), url);
        }
    }

    #[test]
    fn a_host_that_dns_cannot_hold_is_refused() {
        let long = "a".repeat(64);
        let longer = [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(62),
        ]
        .join(".");
        for (host, expected) in [
            ("a..b", HostError::EmptyLabel),
            (".a", HostError::EmptyLabel),
            (".", HostError::EmptyLabel),
            ("a..", HostError::EmptyLabel),
            (&long, HostError::LongLabel(64)),
            (&format!("x.{long}.y"), HostError::LongLabel(64)),
            (&longer, HostError::TooLong(254)),
        ] {
            match EndpointUrl::parse(&format!("http://{host}/")) {
                Err(UrlError::Host(_, error)) => assert_eq!(error, expected, "{host}"),
                other => panic!("{host}: {other:?}"),
            }
        }
    }

    proptest::proptest! {
        /// What is taken is what DNS can hold, by a rule written in another way.
        #[test]
        fn hosts_are_judged_as_dns_does(name in "[a-z0-9_-]{0,70}(\\.[a-z_-]{0,66}){0,6}\\.?") {
            let absolute = format!("{}.", name.strip_suffix('.').unwrap_or(&name));
            // As it goes over the wire: each label behind its length, and the root's.
            let wire: usize = absolute.split('.').map(|label| label.len() + 1).sum();
            let labels: Vec<_> = absolute.split('.').collect();
            let (root, labels) = labels.split_last().unwrap();
            let holds = root.is_empty()
                && wire <= 255
                && labels.iter().all(|label| (1..=63).contains(&label.len()));
            // Whatever else the URL's own rules say about a host.
            match EndpointUrl::parse(&format!("http://{name}/")) {
                Ok(url) if matches!(url.url().host(), Some(Host::Domain(_))) => {
                    proptest::prop_assert!(holds, "{name}");
                }
                Err(UrlError::Host(..)) => proptest::prop_assert!(!holds, "{name}"),
                _ => {}
            }
        }
    }

    #[test]
    fn credentials_are_basic_authentication_and_not_shown() {
        for (given, shown, basic) in [
            ("http://u:p@a/x", "http://***@a/x", "u:p"),
            ("https://u@a:8/", "https://***@a:8/", "u:"),
            ("http://:p@a/", "http://***@a/", ":p"),
            (
                "http://u%40b:p%3A%C3%A4@a/",
                "http://***@a/",
                "u@b:p:\u{e4}",
            ),
        ] {
            let url = EndpointUrl::parse(given).unwrap();
            assert_eq!(url.as_str(), shown);
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.expose(), given);
            assert_eq!(url.url().as_str(), shown.replace("***@", ""));
            let value = format!("Basic {}", STANDARD.encode(basic));
            assert_eq!(url.authorization(), Some(value.as_str()));
            assert!(!url.is_redacted());
            assert_eq!(EndpointUrl::parse(url.expose()).unwrap(), url);
        }
        let without = EndpointUrl::parse("http://a/").unwrap();
        assert_eq!(without.authorization(), None);
        assert_eq!(without.as_str(), without.expose());
    }

    #[test]
    fn what_was_shown_gets_its_credentials_back_at_the_same_origin() {
        let parse = |text| EndpointUrl::parse(text).unwrap();
        let old = parse("http://u:p@a/x");
        let again = |text| parse(text).unredacted(&old);
        assert_eq!(again(old.as_str()).unwrap(), old);
        assert_eq!(again("http://***@a/y").unwrap().expose(), "http://u:p@a/y");
        for elsewhere in ["http://***@b/x", "https://***@a/x", "http://***@a:81/x"] {
            assert_eq!(again(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(again("http://v:q@b/").unwrap(), parse("http://v:q@b/"));
        assert_eq!(again("http://b/").unwrap(), parse("http://b/"));
        let without = parse("http://a/");
        assert_eq!(parse("http://***@a/").unredacted(&without), None);
    }

    #[test]
    fn errors_and_debug_keep_credentials() {
        let error = EndpointUrl::parse("http://user:hunter2@[bad/").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        let url = EndpointUrl::parse("https://hooks.example/services/T0/B0/token").unwrap();
        assert_eq!(format!("{url:?}"), "EndpointUrl(https://hooks.example/…)");
        let url = EndpointUrl::parse("https://user:hunter2@hooks.example/").unwrap();
        assert_eq!(format!("{url:?}"), "EndpointUrl(https://hooks.example/…)");
    }
}
