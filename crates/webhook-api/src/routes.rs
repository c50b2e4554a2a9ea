//! Every route, on one screen, and the one path that each request takes.

use std::{collections::BTreeMap, future::Future, panic::AssertUnwindSafe, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    },
    web::{self, Payload, ServiceConfig},
};
use futures_util::{FutureExt, future::LocalBoxFuture};
use tracing::Instrument;
use webhook_model::FieldError;

use crate::{
    acknowledging,
    api::Api,
    auth::{self, Access, Caller},
    bearers,
    body::{self, Body, Budget, MAX_BODY_BYTES, MAX_EVENTS_BODY_BYTES},
    connections::Connection,
    deliveries, events, health, metrics,
    openapi::document,
    problem::Problem,
    replays, status, subscriptions,
};

macro_rules! routes {
    ($($method:ident $path:literal $access:ident => $handler:path),* $(,)?) => {
        &[$(Route {
            method: Method::$method,
            method_name: stringify!($method),
            path: $path,
            access: Access::$access,
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
}

/// Each answers with and without a slash at its end, and GET also to HEAD.
pub(crate) const ROUTES: &[Route] = routes![
    POST   "/api/v1/webhooks"               Admin   => subscriptions::create,
    GET    "/api/v1/webhooks"               Admin   => subscriptions::list,
    GET    "/api/v1/webhooks/{uuid}"        Admin   => subscriptions::show,
    PATCH  "/api/v1/webhooks/{uuid}"        Admin   => subscriptions::change,
    DELETE "/api/v1/webhooks/{uuid}"        Admin   => subscriptions::delete,
    POST   "/api/v1/webhooks/{uuid}/test"   Admin   => subscriptions::test,
    POST   "/api/v1/webhooks/{uuid}/replay" Admin   => replays::create,
    POST   "/api/v1/events"                 Publish => events::publish,
    GET    "/api/v1/deliveries"             Read    => deliveries::list,
    DELETE "/api/v1/deliveries"             Admin   => deliveries::purge,
    GET    "/api/v1/deliveries/{id}"        Read    => deliveries::show,
    POST   "/api/v1/deliveries/{id}/retry"  Admin   => deliveries::retry,
    POST   "/api/v1/deliveries/{id}/skip"   Admin   => deliveries::skip,
    POST   "/api/v1/deliveries/{id}/acknowledge" Admin => acknowledging::one,
    POST   "/api/v1/deliveries/acknowledge" Admin   => acknowledging::matching,
    GET    "/api/v1/replays/{id}"           Read    => replays::show,
    GET    "/api/v1/status"                 Read    => status::show,
    GET    "/api/v1/tokens"                 Admin   => bearers::list,
    DELETE "/api/v1/tokens/{jti}"           Admin   => bearers::revoke,
    GET    "/api/v1/proof"                  Open    => bearers::prove,
    GET    "/healthz"                       Open    => health::healthz,
    GET    "/readyz"                        Open    => health::readyz,
    GET    "/metrics"                       Metrics => metrics::metrics,
    GET    "/openapi.json"                  Open    => document,
];

/// What a handler returns.
pub(crate) type Answer = Result<HttpResponse, Problem>;

/// One line of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    method_name: &'static str,
    pub(crate) path: &'static str,
    access: Access,
    handler: fn(Call) -> LocalBoxFuture<'static, Answer>,
}

/// One request whose caller may make it. Its body has not been read.
pub(crate) struct Call {
    pub(crate) api: Arc<Api>,
    caller: Option<Caller>,
    request: HttpRequest,
    payload: Payload,
}

impl Call {
    /// Who is asking; every route that asks for a token has somebody.
    pub(crate) fn caller(&self) -> Result<Caller, Problem> {
        self.caller.clone().ok_or(Problem::Unauthenticated)
    }

    /// The subscription that the path names. Any text may be asked for; what no database can hold
    /// is not there.
    pub(crate) fn uuid(&self) -> Result<String, Problem> {
        self.segment().ok_or(Problem::WebhookNotFound)
    }

    /// The part of the path that the table leaves open, if any database could hold it.
    pub(crate) fn segment(&self) -> Option<String> {
        let segment: String = self.request.match_info().load().ok()?;
        (!segment.is_empty() && !segment.contains('\0')).then_some(segment)
    }

    /// Refuses a body, of which a route would take no notice.
    pub(crate) fn without_body(&self) -> Result<(), Problem> {
        let headers = self.request.headers();
        let is_empty = headers
            .get(CONTENT_LENGTH)
            .is_none_or(|length| length.as_bytes() == b"0");
        if is_empty && !headers.contains_key(TRANSFER_ENCODING) {
            return Ok(());
        }
        let detail = "is not read by this route: say which ones in the query";
        Err(Problem::Invalid(vec![FieldError::new("body", detail)]))
    }

    /// What follows the `?`.
    pub(crate) fn query(&self) -> &str {
        self.request.query_string()
    }

    /// Reads the body, which may be done once.
    pub(crate) async fn body(self) -> Result<Body, Problem> {
        let budgets = [&self.api.administration];
        let connection = self.request.conn_data();
        let headers = self.request.headers();
        body::read(&budgets, connection, headers, self.payload, MAX_BODY_BYTES).await
    }

    /// Reads a body of events, which may be done once, within what its sender has in memory.
    pub(crate) async fn events_body(self, senders: &Budget) -> Result<Body, Problem> {
        let budgets = [senders, &self.api.events];
        let connection = self.request.conn_data();
        let headers = self.request.headers();
        body::read(
            &budgets,
            connection,
            headers,
            self.payload,
            MAX_EVENTS_BODY_BYTES,
        )
        .await
    }
}

/// Puts the table into an actix application.
pub(crate) fn configure(api: &Arc<Api>) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let api = Arc::clone(api);
    move |config| {
        let mut paths: BTreeMap<&'static str, Vec<&'static Route>> = BTreeMap::new();
        for route in ROUTES {
            paths.entry(route.path).or_default().push(route);
        }
        for (path, routes) in paths {
            let api = Arc::clone(&api);
            let routes: Arc<[_]> = routes.into();
            let both = [path.to_owned(), format!("{path}/")];
            config.service(web::resource(both).to(move |request, payload| {
                dispatch(Arc::clone(&api), Arc::clone(&routes), request, payload)
            }));
        }
        config.default_service(web::to(move || {
            let answer = Problem::NoRoute.into_response();
            api.deps
                .stats
                .answered(None, None, answer.status().as_u16());
            async { answer }
        }));
    }
}

/// The path of every request: method, caller, handler; whatever fails becomes a problem.
async fn dispatch(
    api: Arc<Api>,
    routes: Arc<[&'static Route]>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let stats = api.deps.stats.clone();
    let method = match request.method() {
        &Method::HEAD => Method::GET,
        other => other.clone(),
    };
    let Some(route) = routes.iter().copied().find(|route| route.method == method) else {
        let answer = Problem::MethodNotAllowed(allow(&routes)).into_response();
        let path = routes.first().map(|route| route.path);
        stats.answered(path, None, answer.status().as_u16());
        return answer;
    };
    let span = tracing::info_span!("request", method = %route.method, route = route.path);
    let answer = settle(answer(api, route, request, payload))
        .instrument(span)
        .await;
    let method = route.method_name;
    stats.answered(Some(route.path), Some(method), answer.status().as_u16());
    answer
}

/// Whatever a handler does, there is an answer.
async fn settle(answer: impl Future<Output = Answer>) -> HttpResponse {
    let problem = match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(answer)) => return answer,
        Ok(Err(problem)) => problem,
        Err(_) => Problem::Internal("the handler panicked".to_owned()),
    };
    problem.into_response()
}

async fn answer(
    api: Arc<Api>,
    route: &'static Route,
    request: HttpRequest,
    payload: Payload,
) -> Answer {
    let known = auth::authorise(&api, route.access, &request).await?;
    let connection = request.conn_data::<Arc<Connection>>();
    if let (Some((caller, _)), Some(connection)) = (&known, connection) {
        connection.is_known(&caller.jti);
    }
    let (caller, holder) = known.unzip();
    let handle = |api| {
        (route.handler)(Call {
            api,
            caller,
            request,
            payload,
        })
    };
    let Some(holder) = holder.filter(|_| route.method == Method::GET) else {
        return handle(api).await;
    };
    let place = api.callers.place(&holder).await?;
    let making = api.callers.make().await?;
    let answer = handle(Arc::clone(&api)).await?;
    drop(making);
    Ok(place.until_read(answer))
}

/// The methods of a path, for `Allow` (RFC 9110, 10.2.1).
pub(crate) fn allow(routes: &[&Route]) -> String {
    let mut methods: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.sort_unstable();
    methods.join(", ")
}

/// A JSON answer that no cache keeps.
pub(crate) fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    Ok(HttpResponse::build(status)
        .insert_header(("Cache-Control", "no-store"))
        .json(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_panic_is_a_500_that_tells_nothing() {
        let panicking = async { panic!("with inside knowledge") };
        let answer = settle(panicking).await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = actix_web::body::to_bytes(answer.into_body()).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            text.contains("error_id") && !text.contains("knowledge"),
            "{text}"
        );
    }

    #[test]
    fn the_document_and_the_table_list_the_same_routes() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let mut documented: Vec<String> = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                documented.push(format!("{} {path}", method.to_uppercase()));
            }
        }
        let mut served: Vec<String> = ROUTES
            .iter()
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        documented.sort_unstable();
        served.sort_unstable();
        assert_eq!(documented, served);
    }

    #[test]
    fn tokens_are_documented_where_they_are_asked_for() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        for route in ROUTES {
            let method = route.method.as_str().to_lowercase();
            let operation = &document["paths"][route.path][&method];
            let secured = operation["security"].is_array();
            assert_eq!(
                secured,
                route.access != Access::Open,
                "{method} {}",
                route.path
            );
        }
    }
}
