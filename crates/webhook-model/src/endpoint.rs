use std::fmt;

use url::Url;

use crate::topic::shown;

/// Longest endpoint URL, in characters, before and after normalisation.
pub const MAX_URL_CHARS: usize = 2083;

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
    /// `user:password@` would be sent in clear and end up in logs.
    #[error("URL contains a user name or password; put credentials into a header or the path")]
    Userinfo,
}

/// An http or https URL, normalised by the WHATWG rules, without userinfo or fragment use.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EndpointUrl(Url);

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
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Userinfo);
        }
        if url.as_str().len() > MAX_URL_CHARS {
            return Err(UrlError::TooLong(url.as_str().len()));
        }
        Ok(Self(url))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Whether deliveries would travel unencrypted.
    pub fn is_insecure(&self) -> bool {
        self.0.scheme() == "http"
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
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "EndpointUrl({}://{host}/…)", self.0.scheme())
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
        assert_eq!(EndpointUrl::parse("http://u:p@a/"), Err(UrlError::Userinfo));
        assert_eq!(EndpointUrl::parse("http://u@a/"), Err(UrlError::Userinfo));
        let long = format!("http://a/{}", "x".repeat(2083));
        assert!(matches!(
            EndpointUrl::parse(&long),
            Err(UrlError::TooLong(_))
        ));
    }

    #[test]
    fn errors_and_debug_keep_credentials() {
        let error = EndpointUrl::parse("http://user:hunter2@[bad/").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        let url = EndpointUrl::parse("https://hooks.example/services/T0/B0/token").unwrap();
        assert_eq!(format!("{url:?}"), "EndpointUrl(https://hooks.example/…)");
    }
}
