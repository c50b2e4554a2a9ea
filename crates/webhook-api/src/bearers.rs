//! The tokens that are in use: listed, revoked, and the server's proof that it knows their key.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use webhook_model::{FieldError, UtcTime};
use webhook_store::TokenRow;

use crate::{
    fields::Fields,
    problem::Problem,
    routes::{Answer, Call, json},
    tokens,
};

/// Most tokens in one answer; more than anybody makes.
const MAX_LISTED: u64 = 1_000;
/// How long a token that was never used stays revoked: longer than any is valid.
const REVOKED_FOR_MICROS: i64 = 11 * 366 * 24 * 3600 * 1_000_000;
/// What a challenge has at least and at most, in characters: enough to be never the same twice.
const CHALLENGE_CHARS: std::ops::RangeInclusive<usize> = 16..=128;

/// The tokens that were used and have not ended by themselves.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenList {
    items: Vec<TokenBody>,
    /// Always null: there is one page.
    #[schema(required = true, example = json!(null))]
    next_cursor: Option<String>,
}

/// A token, without what makes it one.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(crate) struct TokenBody {
    /// The token's own id.
    #[schema(example = "6a4d3b0e-7c6e-4e0f-9a5e-0a1f5b0f3c11")]
    jti: String,
    /// Whom it names.
    #[schema(example = "sensor-7")]
    username: String,
    #[schema(example = "publisher")]
    role: String,
    /// The patterns that it is bound to.
    #[schema(example = json!(["attacker.>"]))]
    topics: Vec<String>,
    #[schema(value_type = String, format = DateTime, example = "2026-04-24T12:00:00.000000Z")]
    issued_at: UtcTime,
    #[schema(value_type = String, format = DateTime, example = "2026-07-23T12:00:00.000000Z")]
    expires_at: UtcTime,
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = json!(null))]
    revoked_at: Option<UtcTime>,
}

/// The token is revoked.
#[derive(Serialize, ToSchema)]
pub(crate) struct Revoked {
    /// Always `Token revoked`.
    #[schema(example = "Token revoked")]
    message: &'static str,
    /// Whether it was used before, or revoked.
    #[schema(example = true)]
    known: bool,
}

/// What only who knows the key can say.
#[derive(Serialize, ToSchema)]
pub(crate) struct Proof {
    /// HMAC-SHA256 in hex.
    proof: String,
}

impl TokenBody {
    fn new(row: TokenRow) -> Self {
        Self {
            jti: row.jti,
            username: row.username,
            role: row.role,
            topics: row.topics,
            issued_at: row.issued_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// List tokens
///
/// Those with a role of their own that were used and have not ended by themselves, latest first.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", operation_id = "listTokens",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The tokens.", body = TokenList),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 429, response = crate::openapi::TooManyAnswers),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn list(call: Call) -> Answer {
    let found = call
        .api
        .work(|api| async move { Ok(api.deps.store.tokens(UtcTime::now(), MAX_LISTED).await?) })
        .await?;
    let items = found.into_iter().map(TokenBody::new).collect();
    let next_cursor = None;
    json(StatusCode::OK, &TokenList { items, next_cursor })
}

/// Revoke a token
///
/// At once and for good; also one that was never used, or that DECNET made.
#[utoipa::path(delete, path = "/api/v1/tokens/{jti}", tag = "tokens", operation_id = "revokeToken",
    security(("bearer" = [])),
    params(("jti" = String, Path, description = "The token's own id, its claim `jti`.")),
    responses(
        (status = 200, description = "It is revoked.", body = Revoked),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 422, response = crate::openapi::InvalidQuery),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn revoke(call: Call) -> Answer {
    let caller = call.caller()?;
    let jti = call.segment().filter(|jti| TokenRow::can_be_kept(jti));
    let Some(jti) = jti else {
        let detail = "is no id of a token: use its claim jti, of at most 128 characters";
        return Err(Problem::Invalid(vec![FieldError::new("jti", detail)]));
    };
    let known = call
        .api
        .work(move |api| async move {
            let now = UtcTime::now();
            let row = TokenRow {
                jti,
                username: String::new(),
                role: String::new(),
                topics: Vec::new(),
                issued_at: now,
                expires_at: UtcTime::from_micros(now.micros() + REVOKED_FOR_MICROS),
                revoked_at: Some(now),
            };
            let store = &api.deps.store;
            let mut known = store.token(&row.jti).await?.is_some();
            store.revoke_token(&row).await?;
            // The ids that are minted here are in lower case, however somebody writes them.
            let minted = Uuid::try_parse(&row.jti).map(|id| id.hyphenated().to_string());
            if let Some(jti) = minted.ok().filter(|jti| !known && *jti != row.jti) {
                known = store.token(&jti).await?.is_some();
                store.revoke_token(&TokenRow { jti, ..row.clone() }).await?;
            }
            tracing::info!(jti = ?row.jti, known, by = ?caller.username, "token revoked");
            Ok(known)
        })
        .await?;
    let message = "Token revoked";
    json(StatusCode::OK, &Revoked { message, known })
}

/// Prove to know the key
///
/// Tells a client that has the tokens' key that this server has it, too, before the client shows a
/// token: HMAC-SHA256 with the key over `decnet api on port <port> answers <challenge>`.
#[utoipa::path(get, path = "/api/v1/proof", tag = "tokens", operation_id = "proveKey",
    params(("challenge" = String, Query, description = "16 to 128 letters and digits that nobody could foresee.")),
    responses(
        (status = 200, description = "The proof.", body = Proof),
        (status = 422, response = crate::openapi::InvalidQuery),
    ))]
pub(crate) async fn prove(call: Call) -> Answer {
    let mut fields = Fields::query(call.query());
    let challenge = fields.required_text("challenge", |text| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_plain && CHALLENGE_CHARS.contains(&text.len()) {
            Ok(text.to_owned())
        } else {
            Err("must be 16 to 128 letters and digits")
        }
    });
    fields.finish()?;
    let challenge = challenge.unwrap_or_default();
    let proof = tokens::proof(&call.api.jwt_secret, &challenge, call.api.port);
    json(StatusCode::OK, &Proof { proof })
}
