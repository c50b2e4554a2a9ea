//! Health and metrics of a process that has no API: `decnet webhook` serves it at `DECNET_METRICS_ADDR`.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    web::{self, ServiceConfig},
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio_util::sync::CancellationToken;

use crate::{
    ApiError, ApiStats, ConnectionLimits, Scrape,
    cors::Origins,
    health, metrics,
    problem::Problem,
    routes::Answer,
    server::{Limits, Serving, listen},
};

/// Answers of a probe are immediate; this is for one that just began.
const GRACE: Duration = Duration::from_secs(1);

/// Scrapers and probes are few; idle ones give way to others.
const CONNECTIONS: ConnectionLimits = ConnectionLimits {
    total: 16,
    per_address: 16,
    probes: 4,
};

type Check = Arc<dyn Fn() -> BoxFuture<'static, Vec<String>> + Send + Sync>;

/// Serves `/healthz`, `/readyz` and `/metrics`, bound to its address.
pub struct ProbeServer {
    listener: TcpListener,
    addr: SocketAddr,
    check: Check,
    scrape: Scrape,
}

impl ProbeServer {
    /// Where it is served unless somebody says otherwise: loopback only, for there is no token.
    pub const DEFAULT_ADDR: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

    /// Binds the address. `missing` names what is not there, e.g. `database`; it is asked for
    /// every `/readyz` and should answer within a second or two. Whoever reaches the address may
    /// scrape: it is there for nothing else.
    pub fn bind<F, Fut>(addr: SocketAddr, missing: F, scrape: Scrape) -> Result<Self, ApiError>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<String>> + Send + 'static,
    {
        let (listener, addr) = listen(addr, ApiError::ProbePortTaken)?;
        Ok(Self {
            listener,
            addr,
            check: Arc::new(move || missing().boxed()),
            scrape,
        })
    }

    /// Where it listens, with the port that port 0 became.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ApiError> {
        let limits = Limits {
            workers: 1,
            grace: GRACE,
            connections: CONNECTIONS,
        };
        let (check, scrape) = (self.check, self.scrape);
        let stats = ApiStats::default();
        // No page has a reason to ask.
        let origins = Origins::default();
        let (listener, stop) = (self.listener, &shutdown);
        let serving = Serving::start(listener, limits, origins, stats, stop, move |config| {
            configure(config, &check, &scrape);
        })?;
        serving.end(shutdown).await
    }
}

fn configure(config: &mut ServiceConfig, check: &Check, scrape: &Scrape) {
    let (check, scrape) = (Arc::clone(check), Arc::clone(scrape));
    config
        .service(
            web::resource("/healthz").to(|request: HttpRequest| async move {
                respond(readable(&request).and_then(|()| health::alive()))
            }),
        )
        .service(web::resource("/readyz").to(move |request: HttpRequest| {
            let check = Arc::clone(&check);
            async move {
                respond(match readable(&request) {
                    Ok(()) => health::ready(check().await),
                    Err(problem) => Err(problem),
                })
            }
        }))
        .service(web::resource("/metrics").to(move |request: HttpRequest| {
            let scrape = Arc::clone(&scrape);
            async move {
                respond(match readable(&request) {
                    Ok(()) => metrics::answer(scrape().await),
                    Err(problem) => Err(problem),
                })
            }
        }))
        .default_service(web::to(|| async { Problem::NoRoute.into_response() }));
}

fn readable(request: &HttpRequest) -> Result<(), Problem> {
    match *request.method() {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Problem::MethodNotAllowed("GET, HEAD".to_owned())),
    }
}

fn respond(answer: Answer) -> HttpResponse {
    answer.unwrap_or_else(Problem::into_response)
}
