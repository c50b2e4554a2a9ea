//! Who is asking, and whether they may.

use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use webhook_model::UtcTime;

use crate::{
    api::Api,
    problem::Problem,
    tokens::{self, Claims, Role},
};

/// Longest token that is looked at; ours have about 400 characters.
const MAX_TOKEN_CHARS: usize = 8 << 10;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, without a token.
    Open,
    /// Admins.
    Admin,
    /// Admins and viewers.
    Read,
    /// Admins and publishers.
    Publish,
}

impl Access {
    fn admits(self, role: Role) -> bool {
        match self {
            Self::Open => true,
            Self::Admin => role == Role::Admin,
            Self::Read => matches!(role, Role::Admin | Role::Viewer),
            Self::Publish => matches!(role, Role::Admin | Role::Publisher),
        }
    }
}

/// Somebody with a valid token whose role is enough.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The `uuid` claim.
    pub(crate) uuid: String,
    /// The name to show for them.
    pub(crate) username: String,
    /// What they are.
    pub(crate) role: Role,
}

/// Decides from the head of a request alone; none for open routes.
pub(crate) async fn authorise(
    api: &Arc<Api>,
    access: Access,
    headers: &HeaderMap,
) -> Result<Option<Caller>, Problem> {
    if access == Access::Open {
        return Ok(None);
    }
    let claims = bearer(headers)
        .and_then(|token| tokens::verify(&api.jwt_secret, token))
        .ok_or(Problem::Unauthenticated)?;
    let caller = api.work(|api| identify(api, claims)).await?;
    if access.admits(caller.role) {
        Ok(Some(caller))
    } else {
        Err(Problem::Forbidden)
    }
}

/// The token of the one `Authorization: Bearer …` header (RFC 6750, 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION);
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN_CHARS).then_some(token)
}

/// What DECNET's tables, where they exist, say about a token that is valid in itself.
async fn identify(api: Arc<Api>, claims: Claims) -> Result<Caller, Problem> {
    let store = &api.deps.store;
    if store.is_revoked(&claims.jti).await? {
        return Err(Problem::Unauthenticated);
    }
    let user = store.user(&claims.uuid).await?;
    let valid_from = user.as_ref().and_then(|user| user.tokens_valid_from);
    if valid_from.is_some_and(|from| issued_at(&claims) < from) {
        return Err(Problem::Unauthenticated);
    }
    let role = match (&claims.role, &user) {
        (Some(claimed), _) => claimed.parse(),
        (None, Some(user)) => user.role.parse(),
        (None, None) => return Err(Problem::Unauthenticated),
    };
    let username = user
        .map(|user| user.username)
        .or(claims.username)
        .unwrap_or_else(|| claims.uuid.clone());
    Ok(Caller {
        uuid: claims.uuid,
        username,
        role: role.map_err(|_| Problem::Unauthenticated)?,
    })
}

fn issued_at(claims: &Claims) -> UtcTime {
    // Out of range saturates, and `UtcTime` clamps: such a token is older or newer than any limit.
    #[expect(clippy::cast_possible_truncation, reason = "saturates as intended")]
    let micros = (claims.iat * 1e6) as i64;
    UtcTime::from_micros(micros)
}
