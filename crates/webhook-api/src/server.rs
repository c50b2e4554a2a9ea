//! Listens, serves, and ends when told: after [`ApiServer::run`] nothing of it is left.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::Server, web::ServiceConfig};
use tokio_util::sync::CancellationToken;

use crate::{ApiConfig, ApiDeps, ApiError, api::Api, routes};

/// Longest wait for a request's head; a client that drips it in is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept: dashboards poll every few seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long the rest of an unread body is drained, so that a refusal reaches its client.
const LINGER: Duration = Duration::from_secs(2);
/// Connections a worker serves at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;

/// The HTTP API, bound to its address.
pub struct ApiServer {
    listener: TcpListener,
    addr: SocketAddr,
    api: Arc<Api>,
    limits: Limits,
}

impl ApiServer {
    /// Binds the address. Call it on the runtime that the dependencies live on: the work of the
    /// requests is done there.
    pub async fn bind(config: ApiConfig, deps: ApiDeps) -> Result<Self, ApiError> {
        let addr = resolve(&config.host, config.port).await?;
        let (listener, addr) = listen(addr, ApiError::PortTaken)?;
        Ok(Self {
            listener,
            addr,
            api: Api::new(deps, &config),
            limits: Limits {
                workers: config.workers.max(1),
                grace: config.shutdown_grace,
            },
        })
    }

    /// Where it listens, with the port that port 0 became.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown`, then lets requests in progress finish.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ApiError> {
        let api = Arc::clone(&self.api);
        let server = serve(self.listener, self.limits, shutdown, move |config| {
            routes::configure(&api)(config);
        })?;
        server.await.map_err(ApiError::Serve)?;
        self.api.drained().await;
        Ok(())
    }
}

/// What an HTTP server of this crate may use.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) workers: usize,
    pub(crate) grace: Duration,
}

/// Binds an address, saying which setting to change where it is taken.
pub(crate) fn listen(
    addr: SocketAddr,
    taken: fn(SocketAddr) -> ApiError,
) -> Result<(TcpListener, SocketAddr), ApiError> {
    let failed = |source| ApiError::Listen { addr, source };
    let listener = TcpListener::bind(addr).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => taken(addr),
        _ => failed(error),
    })?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

/// Starts to serve; what is returned ends after `shutdown`. (Not an async function: an
/// `HttpServer` that is being set up may not move between threads, the running one may.)
pub(crate) fn serve(
    listener: TcpListener,
    limits: Limits,
    shutdown: CancellationToken,
    configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> Result<Server, ApiError> {
    let factory = move || App::new().configure(configure.clone());
    let server = HttpServer::new(factory)
        .disable_signals()
        .shutdown_signal(shutdown.cancelled_owned())
        .shutdown_timeout(limits.grace.as_secs().max(1))
        .workers(limits.workers)
        .max_connections(MAX_CONNECTIONS)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(LINGER)
        .listen(listener)
        .map_err(ApiError::Serve)?;
    Ok(server.run())
}

async fn resolve(host: &str, port: u16) -> Result<SocketAddr, ApiError> {
    // `[::1]` is how URLs write it, and people copy it from there.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let unknown = |source| ApiError::UnknownHost {
        host: host.to_owned(),
        source,
    };
    let mut found = tokio::net::lookup_host((bare, port))
        .await
        .map_err(|error| unknown(Some(error)))?;
    found.next().ok_or_else(|| unknown(None))
}
