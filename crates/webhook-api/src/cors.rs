//! Which pages may call the API from a browser: those of the configured origins (Fetch standard, CORS
//! protocol). A token in a header is all that identifies a caller, so no cookies are allowed.

use actix_cors::Cors;
use actix_web::http::{
    Method, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::ApiError;

/// How long a browser may remember an answer to its preflight, in seconds. Some use up to two hours;
/// a changed configuration should show sooner.
const MAX_AGE_SECS: usize = 600;

/// Origins as browsers send them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins(Vec<String>);

impl Origins {
    pub(crate) fn parse(texts: Vec<String>) -> Result<Self, ApiError> {
        match texts.iter().find(|text| !is_origin(text)) {
            Some(wrong) => Err(ApiError::NoOrigin(wrong.clone())),
            None => Ok(Self(texts)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn policy(&self) -> Cors {
        let policy = Cors::default()
            .allowed_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            .allowed_headers([AUTHORIZATION, CONTENT_TYPE])
            .expose_headers([RETRY_AFTER, WWW_AUTHENTICATE])
            .max_age(MAX_AGE_SECS);
        (self.0.iter()).fold(policy, |policy, origin| policy.allowed_origin(origin))
    }
}

/// RFC 6454, 6.2: scheme, host, and a port unless it is the scheme's own, in lower case.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return false;
    };
    matches!(scheme, "http" | "https") && text == format!("{scheme}://{authority}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_browsers_send() {
        for good in [
            "http://localhost:8080",
            "https://master.example",
            "http://[::1]:9",
        ] {
            assert!(Origins::parse(vec![good.to_owned()]).is_ok(), "{good}");
        }
        for wrong in [
            "*",
            "",
            "localhost:8080",
            "http://a/",
            "http://A",
            "ftp://a",
            "http://a/x",
        ] {
            let error = Origins::parse(vec![wrong.to_owned()]).unwrap_err();
            assert!(error.to_string().contains("DECNET_CORS_ORIGINS"), "{wrong}");
        }
    }
}
