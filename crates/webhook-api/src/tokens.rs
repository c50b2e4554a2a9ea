//! The tokens that DECNET mints and takes: JWTs signed with HS256, whose claims are all required.
//!
//! What a database knows about a token (revoked, too old, whose role) is not known here.

mod hs256;

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Deserialize;
use uuid::Uuid;

use crate::ApiError;

const ISSUER: &str = "decnet";
const AUDIENCE: &str = "decnet-dashboard";
const TYPE: &str = "access";

/// RFC 7518, 3.2: the key of HS256 has at least the size of its hash.
pub(crate) const MIN_SECRET_CHARS: usize = 32;
/// How far ahead an issuer's clock may run, in seconds: NTP keeps machines well within, and a
/// token from further in the future is none that we or DECNET minted.
const IAT_LEEWAY_SECS: f64 = 5.0;

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Read this project's own read routes.
    Viewer,
    /// Publish events, nothing else.
    Publisher,
}

impl Role {
    /// The role as tokens and DECNET's `users` table spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
            Self::Publisher => "publisher",
        }
    }
}

impl FromStr for Role {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        [Self::Admin, Self::Viewer, Self::Publisher]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| ApiError::UnknownRole(text.to_owned()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The key of the tokens: at least 32 characters, redacted in `Debug`.
#[derive(Clone)]
pub struct JwtSecret {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl JwtSecret {
    /// Checks the length and takes the text's UTF-8 bytes as key.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let chars = text.chars().count();
        if chars < MIN_SECRET_CHARS {
            return Err(ApiError::ShortJwtSecret(chars));
        }
        Ok(Self {
            encoding: EncodingKey::from_secret(text.as_bytes()),
            decoding: DecodingKey::from_secret(text.as_bytes()),
        })
    }
}

impl fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtSecret(…)")
    }
}

/// What a valid token says.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Claims {
    /// Whose token it is: a row of DECNET's `users`, or a fresh id for a token of our own.
    pub(crate) uuid: String,
    /// The token's own id, by which it can be revoked.
    pub(crate) jti: String,
    exp: f64,
    /// When it was minted, in epoch seconds.
    pub(crate) iat: f64,
    typ: String,
    /// DECNET's own tokens carry no role: its table knows it.
    pub(crate) role: Option<String>,
    /// This project's addition: whom to name where DECNET's table has no row.
    pub(crate) username: Option<String>,
}

/// Mints a token that carries its role, so that it needs no row in a `users` table.
///
/// ```
/// use std::time::Duration;
/// use webhook_api::tokens::{self, JwtSecret, Role};
///
/// let secret = JwtSecret::parse("0123456789abcdef0123456789abcdef")?;
/// let token = tokens::mint(&secret, Role::Publisher, "sensor-7", Duration::from_secs(3600));
/// assert_eq!(token.split('.').count(), 3);
/// # Ok::<(), webhook_api::ApiError>(())
/// ```
pub fn mint(secret: &JwtSecret, role: Role, username: &str, ttl: Duration) -> String {
    hs256::install();
    let now = jsonwebtoken::get_current_timestamp();
    let claims = serde_json::json!({
        "uuid": Uuid::new_v4().to_string(),
        "jti": Uuid::new_v4().to_string(),
        "exp": now.saturating_add(ttl.as_secs()),
        "iat": now,
        "iss": ISSUER,
        "aud": AUDIENCE,
        "typ": TYPE,
        "role": role.as_str(),
        "username": username,
    });
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret.encoding)
        .expect("an HMAC over claims in memory cannot fail")
}

/// The claims of a token that is signed by us, for us, and in force; otherwise nothing, for
/// nobody who failed needs to know why.
pub(crate) fn verify(secret: &JwtSecret, token: &str) -> Option<Claims> {
    hs256::install();
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_required_spec_claims(&["exp", "iss", "aud"]);
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&[AUDIENCE]);
    rules.leeway = 0;
    let claims = jsonwebtoken::decode::<Claims>(token, &secret.decoding, &rules)
        .ok()?
        .claims;
    let now = now();
    let in_force = claims.exp > now && claims.iat <= now + IAT_LEEWAY_SECS;
    let named = !claims.uuid.is_empty() && !claims.jti.is_empty();
    (in_force && named && claims.typ == TYPE).then_some(claims)
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests;
