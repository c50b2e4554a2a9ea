//! Who is asking, and whether they may.

use std::sync::Arc;

use actix_web::{
    HttpRequest,
    http::header::{AUTHORIZATION, HeaderMap},
};
use webhook_model::UtcTime;

use crate::{
    api::Api,
    problem::Problem,
    tokens::{self, Claims, Role},
};

/// Longest token that is looked at; ours have about 400 characters.
const MAX_TOKEN_CHARS: usize = 8 << 10;

/// What proxies say that they act for somebody with.
const FORWARDED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, without a token.
    Open,
    /// Programs on this machine, without a token; others as with [`Access::Read`].
    Local,
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
            Self::Local | Self::Read => matches!(role, Role::Admin | Role::Viewer),
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

/// Decides from the head of a request alone; none where no token is
/// asked for.
pub(crate) async fn authorise(
    api: &Arc<Api>,
    access: Access,
    request: &HttpRequest,
) -> Result<Option<Caller>, Problem> {
    if access == Access::Open || (access == Access::Local && is_local(request)) {
        return Ok(None);
    }
    let claims = bearer(request.headers())
        .and_then(|token| tokens::verify(&api.jwt_secret, token))
        .ok_or(Problem::Unauthenticated)?;
    let caller = api.work(|api| identify(api, claims)).await?;
    if access.admits(caller.role) {
        Ok(Some(caller))
    } else {
        Err(Problem::Forbidden)
    }
}

/// Whether a program on this machine asks for itself. A proxy on this machine asks for others.
fn is_local(request: &HttpRequest) -> bool {
    let loopback = request
        .peer_addr()
        .is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    loopback
        && !FORWARDED
            .iter()
            .any(|name| request.headers().contains_key(*name))
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use actix_web::test::TestRequest;

    use super::*;

    #[track_caller]
    fn check(peer: &str, header: Option<(&'static str, &'static str)>, expected: bool) {
        let peer: SocketAddr = peer.parse().unwrap();
        let mut request = TestRequest::default().peer_addr(peer);
        if let Some(header) = header {
            request = request.insert_header(header);
        }
        assert_eq!(is_local(&request.to_http_request()), expected, "{peer}");
    }

    #[test]
    fn only_programs_on_this_machine_are_local() {
        check("127.0.0.1:4711", None, true);
        check("127.8.9.1:4711", None, true);
        check("[::1]:4711", None, true);
        check("[::ffff:127.0.0.1]:4711", None, true);
        check("192.0.2.7:4711", None, false);
        check("[::ffff:192.0.2.7]:4711", None, false);
        check(
            "192.0.2.7:4711",
            Some(("x-forwarded-for", "127.0.0.1")),
            false,
        );
        for name in FORWARDED {
            check("127.0.0.1:4711", Some((name, "127.0.0.1")), false);
        }
    }
}
