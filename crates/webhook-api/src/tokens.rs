//! The tokens that DECNET mints and takes: JWTs signed with HS256, whose claims are all required.
//!
//! What a database knows about a token (revoked, too old, whose role) is not known here.

mod hs256;

use std::{
    fmt,
    num::NonZeroU32,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Deserialize;
use uuid::Uuid;
use webhook_model::TopicPattern;

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
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Claims {
    /// Whose token it is: a row of DECNET's `users`, or a fresh id for a token of our own.
    pub(crate) uuid: String,
    /// The token's own id, by which it can be revoked.
    pub(crate) jti: String,
    exp: f64,
    /// When it was minted, in epoch seconds.
    pub(crate) iat: f64,
    /// One issuer: jsonwebtoken would take a list that names us (RFC 7519, 4.1.1 knows none).
    iss: String,
    typ: String,
    /// DECNET's own tokens carry no role: its table knows it.
    pub(crate) role: Option<String>,
    /// This project's addition: whom to name where DECNET's table has no row.
    pub(crate) username: Option<String>,
    /// Not before this; of tokens that others mint.
    nbf: Option<f64>,
    /// This project's addition: patterns of the topics that may be published to.
    pub(crate) topics: Option<Vec<String>>,
    /// This project's addition: less than the server's own quota.
    pub(crate) events_per_second: Option<NonZeroU32>,
    /// The same.
    pub(crate) bytes_per_second: Option<NonZeroU32>,
    /// The same.
    pub(crate) bus_share_percent: Option<NonZeroU32>,
}

impl Claims {
    /// When the token ends, in epoch seconds.
    pub(crate) fn expires_at(&self) -> f64 {
        self.exp
    }
}

/// What a token is to say.
#[derive(Debug, Clone)]
pub struct Grant<'a> {
    /// What its bearer may do.
    pub role: Role,
    /// Whom to name where its bearer is mentioned.
    pub username: &'a str,
    /// How long it is valid.
    pub ttl: Duration,
    /// The topics that may be published to; all where there is none. A token that is bound to
    /// topics may only publish, whatever its role.
    pub topics: &'a [TopicPattern],
    /// Events a second that may be published, where that is less than the server allows.
    pub events_per_second: Option<NonZeroU32>,
    /// Bytes a second that may be published, where that is less than the server allows.
    pub bytes_per_second: Option<NonZeroU32>,
    /// Percent of the bus that it may fill, where that is less than the server allows.
    pub bus_share_percent: Option<NonZeroU32>,
}

/// A new token, and the id by which it can be revoked.
#[derive(Clone)]
pub struct Minted {
    /// To be shown to the API.
    pub token: String,
    /// Its `jti`.
    pub jti: String,
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
    let grant = Grant {
        role,
        username,
        ttl,
        topics: &[],
        events_per_second: None,
        bytes_per_second: None,
        bus_share_percent: None,
    };
    mint_grant(secret, &grant).token
}

/// Mints a token that may be bound to topics and quotas.
pub fn mint_grant(secret: &JwtSecret, grant: &Grant<'_>) -> Minted {
    hs256::install();
    let now = jsonwebtoken::get_current_timestamp();
    let jti = Uuid::new_v4().to_string();
    let mut claims = serde_json::json!({
        "uuid": Uuid::new_v4().to_string(),
        "jti": jti,
        "exp": now.saturating_add(grant.ttl.as_secs()),
        "iat": now,
        "iss": ISSUER,
        "aud": AUDIENCE,
        "typ": TYPE,
        "role": grant.role.as_str(),
        "username": grant.username,
    });
    if !grant.topics.is_empty() {
        let topics: Vec<&str> = grant.topics.iter().map(TopicPattern::as_str).collect();
        claims["topics"] = topics.into();
    }
    for (name, quota) in [
        ("events_per_second", grant.events_per_second),
        ("bytes_per_second", grant.bytes_per_second),
        ("bus_share_percent", grant.bus_share_percent),
    ] {
        if let Some(quota) = quota {
            claims[name] = quota.get().into();
        }
    }
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret.encoding)
        .expect("an HMAC over claims in memory cannot fail");
    Minted { token, jti }
}

/// The `jti` of a token that is signed by us and in force.
pub fn jti(secret: &JwtSecret, token: &str) -> Option<String> {
    verify(secret, token).map(|claims| claims.jti)
}

/// What a server answers to a challenge, to prove that it has the key without showing it. It says
/// on which port the server listens, so that nobody can pass a challenge on to it and take the
/// answer for his own.
pub fn proof(secret: &JwtSecret, challenge: &str, port: u16) -> String {
    hs256::prove(&secret.encoding, &proof_text(challenge, port))
}

/// Whether that answer proves it.
pub fn is_proof(secret: &JwtSecret, challenge: &str, port: u16, answer: &str) -> bool {
    hs256::is_proven(&secret.encoding, &proof_text(challenge, port), answer)
}

/// No token's signed part has a space in it, so no proof is a token's signature.
fn proof_text(challenge: &str, port: u16) -> String {
    format!("decnet api on port {port} answers {challenge}")
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
    let decoded = jsonwebtoken::decode::<Claims>(token, &secret.decoding, &rules).ok()?;
    // RFC 7515, 4.1.11: who does not understand an extension that is critical refuses the token.
    if decoded.header.crit.is_some() {
        return None;
    }
    let claims = decoded.claims;
    let now = now();
    let begun = claims.iat.max(claims.nbf.unwrap_or(claims.iat));
    let in_force = claims.exp > now && begun <= now + IAT_LEEWAY_SECS;
    let named = !claims.uuid.is_empty() && !claims.jti.is_empty();
    (in_force && named && claims.iss == ISSUER && claims.typ == TYPE).then_some(claims)
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests;
