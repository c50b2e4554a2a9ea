//! Who is asking, and whether they may.

use std::{sync::Arc, time::Instant};

use actix_web::{
    HttpRequest,
    http::header::{AUTHORIZATION, HeaderMap},
};
use webhook_model::{TopicPattern, UtcTime};
use webhook_store::TokenRow;

use crate::{
    PublishQuota,
    api::Api,
    callers::Holder,
    problem::Problem,
    tokens::{self, Claims, Role},
};

/// Longest token that is looked at; ours have about 400 characters.
const MAX_TOKEN_CHARS: usize = 8 << 10;

/// A token that lives for less, in seconds, is one that `decnet` makes for itself: it is over before
/// anybody could look for it in a list.
const LISTED_FROM_SECS: f64 = 60.0;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, without a token.
    Open,
    /// As with [`Access::Read`], or everybody where that is configured.
    Metrics,
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
            Self::Metrics | Self::Read => matches!(role, Role::Admin | Role::Viewer),
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
    /// The token's own id.
    pub(crate) jti: String,
    /// The patterns of the topics that the token may publish to, if it is bound to some.
    pub(crate) topics: Option<Vec<TopicPattern>>,
    /// What the token may publish.
    pub(crate) quota: PublishQuota,
}

/// Decides from the head of a request alone; none where no token is
/// asked for.
pub(crate) async fn authorise(
    api: &Arc<Api>,
    access: Access,
    request: &HttpRequest,
) -> Result<Option<(Caller, Arc<Holder>)>, Problem> {
    if access == Access::Open || (access == Access::Metrics && api.open_metrics) {
        return Ok(None);
    }
    let claims = bearer(request.headers())
        .and_then(|token| tokens::verify(&api.jwt_secret, token))
        .ok_or(Problem::Unauthenticated)?;
    let holder = api.callers.holder(&claims, Instant::now())?;
    let look = || api.work(|api| identify(api, claims));
    let caller = holder.identity(look).await?;
    let is_bound = caller.topics.is_some() && access != Access::Publish;
    if access.admits(caller.role) && !is_bound {
        api.first_token.used(&caller.jti);
        Ok(Some((caller, holder)))
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
    let known = store.token(&claims.jti).await?;
    if (known.as_ref()).is_some_and(|token| token.revoked_at.is_some()) {
        return Err(Problem::Unauthenticated);
    }
    let user = store.user(&claims.uuid).await?;
    let valid_from = user.as_ref().and_then(|user| user.tokens_valid_from);
    if valid_from.is_some_and(|from| issued_at(&claims) < whole_second(from)) {
        return Err(Problem::Unauthenticated);
    }
    if user.as_ref().is_some_and(|user| user.must_change_password) {
        return Err(Problem::PasswordChangeRequired);
    }
    let role = match (&claims.role, &user) {
        (Some(claimed), _) => claimed.parse().map_err(|_| Problem::Unauthenticated)?,
        // A known user whose role means nothing here: DECNET has roles of its own to give.
        (None, Some(user)) => user.role.parse().map_err(|_| Problem::Forbidden)?,
        (None, None) => return Err(Problem::Unauthenticated),
    };
    let username = user
        .map(|user| user.username)
        .or_else(|| claims.username.clone())
        .unwrap_or_else(|| claims.uuid.clone());
    let topics = (claims.topics.as_ref())
        .map(|topics| {
            topics
                .iter()
                .map(|text| TopicPattern::parse(text))
                .collect()
        })
        .transpose()
        .map_err(|_| Problem::Unauthenticated)?;
    if known.is_none() {
        note(&api, &claims, &username, role).await?;
    }
    Ok(Caller {
        quota: quota(&api, role, &claims),
        uuid: claims.uuid,
        username,
        role,
        jti: claims.jti,
        topics,
    })
}

/// An admin's quota is what its token says, a publisher's at most what the server allows.
fn quota(api: &Api, role: Role, claims: &Claims) -> PublishQuota {
    let allowed = match role {
        Role::Admin => PublishQuota::UNLIMITED,
        Role::Publisher | Role::Viewer => api.publish_quota,
    };
    allowed.min(PublishQuota {
        events_per_second: claims
            .events_per_second
            .unwrap_or(allowed.events_per_second),
        bytes_per_second: claims.bytes_per_second.unwrap_or(allowed.bytes_per_second),
        bus_share_percent: claims
            .bus_share_percent
            .unwrap_or(allowed.bus_share_percent),
    })
}

/// Has a token of ours in the list of those that are in use.
async fn note(api: &Api, claims: &Claims, username: &str, role: Role) -> Result<(), Problem> {
    let is_ours = claims.role.is_some() && TokenRow::can_be_kept(&claims.jti);
    if !is_ours || claims.expires_at() - claims.iat < LISTED_FROM_SECS {
        return Ok(());
    }
    let row = TokenRow {
        jti: claims.jti.clone(),
        username: username.to_owned(),
        role: role.to_string(),
        topics: claims.topics.clone().unwrap_or_default(),
        issued_at: issued_at(claims),
        expires_at: at(claims.expires_at()),
        revoked_at: None,
    };
    Ok(api.deps.store.note_token(&row).await?)
}

fn issued_at(claims: &Claims) -> UtcTime {
    at(claims.iat)
}

/// Out of range saturates, and `UtcTime` clamps: such a token is older or newer than any limit.
fn at(epoch_seconds: f64) -> UtcTime {
    #[expect(clippy::cast_possible_truncation, reason = "saturates as intended")]
    let micros = (epoch_seconds * 1e6) as i64;
    UtcTime::from_micros(micros)
}

/// The second that a moment lies in. DECNET mints `iat` in whole seconds, so a token that follows a
/// cut-off within the same second must not count as older.
fn whole_second(time: UtcTime) -> UtcTime {
    UtcTime::from_micros(time.micros() - time.micros().rem_euclid(1_000_000))
}
