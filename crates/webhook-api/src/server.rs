//! Listens, serves, and ends when told: after [`ApiServer::run`] nothing of it is left.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_http::{HttpService, Protocol, Request};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App, Error,
    dev::{AppConfig, Server, ServiceRequest, ServiceResponse},
    http::{
        ConnectionType,
        header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    },
    middleware::Condition,
    web::ServiceConfig,
};
use futures_util::future::{Either, ready};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::{
    ApiConfig, ApiDeps, ApiError, ApiStats, ConnectionLimits,
    api::Api,
    connections::{Connection, Connections, Guarded, Parts},
    cors::Origins,
    problem::Problem,
    routes,
};

/// Longest wait for a request's head; a client that drips it in is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept: dashboards poll every few seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long the rest of an unread body is drained, so that a refusal reaches its client.
const LINGER: Duration = Duration::from_secs(2);
/// What the kernel keeps of an answer that its client does not read: enough for a good link, and
/// little times [`ConnectionLimits::total`]. Left to itself it would be megabytes.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// What this program keeps of it beside: one part is copied while another is on its way.
const WRITE_BUFFER_BYTES: usize = 8 << 10;
/// What answers on a connection that is beyond the limits.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The HTTP API, bound to its address.
pub struct ApiServer {
    listener: TcpListener,
    addr: SocketAddr,
    api: Arc<Api>,
    limits: Limits,
    origins: Origins,
}

impl ApiServer {
    /// Binds the address. Call it on the runtime that the dependencies live on: the work of the
    /// requests is done there.
    pub async fn bind(config: ApiConfig, deps: ApiDeps) -> Result<Self, ApiError> {
        let origins = Origins::parse(config.cors_origins.clone())?;
        let addr = resolve(&config.host, config.port).await?;
        let (listener, addr) = listen(addr, ApiError::PortTaken)?;
        Ok(Self {
            listener,
            addr,
            api: Api::new(deps, &config, addr.port()),
            limits: Limits {
                workers: config.workers.max(1),
                grace: config.shutdown_grace,
                connections: config.connections,
            },
            origins,
        })
    }

    /// Where it listens, with the port that port 0 became.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown`, then lets requests in progress finish.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ApiError> {
        let api = Arc::clone(&self.api);
        let stats = api.deps.stats.clone();
        let serving = Serving::start(
            self.listener,
            self.limits,
            self.origins,
            stats,
            &shutdown,
            move |config| {
                routes::configure(&api)(config);
            },
        )?;
        serving.end(shutdown).await?;
        self.api.drained().await;
        Ok(())
    }
}

/// What an HTTP server of this crate may use.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) workers: usize,
    pub(crate) grace: Duration,
    pub(crate) connections: ConnectionLimits,
}

/// A server that serves.
pub(crate) struct Serving {
    server: Server,
    connections: Arc<Connections>,
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
    // Connections have it from their listener.
    (socket2::SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER_BYTES)).map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

impl Serving {
    /// Starts to serve. (Not an async function: a server that is being set up may not move between
    /// threads, the running one may.)
    pub(crate) fn start(
        listener: TcpListener,
        limits: Limits,
        origins: Origins,
        stats: ApiStats,
        shutdown: &CancellationToken,
        configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> Result<Self, ApiError> {
        let connections = Connections::new(limits.connections, stats);
        let admitting = Arc::clone(&connections);
        let factory = move || {
            let (admitting, draining) = (Arc::clone(&admitting), Arc::clone(&admitting));
            let configure = configure.clone();
            let app = App::new()
                .wrap_fn(move |request, service| {
                    let (connection, draining) = (connection(&request), Arc::clone(&draining));
                    let being_answered =
                        (connection.as_ref()).map(|it| it.request(body_length(&request)));
                    let for_probes = connection.is_some_and(|it| it.for_probes);
                    let answer = if for_probes && !PROBES.contains(&request.path()) {
                        let refused = Problem::Crowded.into_response();
                        Either::Left(ready(Ok(request.into_response(refused))))
                    } else {
                        Either::Right(actix_service::Service::call(service, request))
                    };
                    async move {
                        let mut answer: ServiceResponse = answer.await?;
                        if for_probes || draining.is_draining() {
                            let head = answer.response_mut().head_mut();
                            head.set_connection_type(ConnectionType::Close);
                        }
                        Ok::<_, Error>(answer.map_body(|_, body| Parts::new(body, being_answered)))
                    }
                })
                .wrap(Condition::new(!origins.is_empty(), origins.policy()))
                .configure(configure);
            let http = HttpService::build()
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(HEAD_TIMEOUT)
                .client_disconnect_timeout(LINGER)
                .h1_write_buffer_size(WRITE_BUFFER_BYTES)
                .on_connect_ext(|socket: &Guarded, extensions| {
                    extensions.insert(Arc::clone(&socket.connection));
                });
            let app = IntoServiceFactory::<_, Request>::into_factory(app);
            let http = http.finish(map_config(app, |()| AppConfig::default()));
            let admit = fn_service(move |socket: TcpStream| {
                let peer = socket.peer_addr().ok();
                let socket = Guarded::admit(socket, &admitting);
                let refused = || {
                    actix_http::error::DispatchError::Io(io::ErrorKind::ConnectionRefused.into())
                };
                ready(
                    socket
                        .map(|socket| (socket, Protocol::Http1, peer))
                        .ok_or_else(refused),
                )
            });
            admit.and_then(http)
        };
        let server = Server::build()
            .disable_signals()
            .shutdown_signal(shutdown.clone().cancelled_owned())
            .shutdown_timeout(limits.grace.as_secs().max(1))
            .workers(limits.workers)
            .listen("http", listener, factory)
            .map_err(ApiError::Serve)?
            .run();
        Ok(Self {
            server,
            connections,
        })
    }

    /// Serves until `shutdown`, then lets requests in progress finish.
    pub(crate) async fn end(self, shutdown: CancellationToken) -> Result<(), ApiError> {
        let Self {
            mut server,
            connections,
        } = self;
        tokio::select! {
            served = &mut server => return served.map_err(ApiError::Serve),
            () = connections.watch() => {}
            () = shutdown.cancelled() => connections.drain(),
        }
        server.await.map_err(ApiError::Serve)
    }
}

/// The connection that a request came over.
fn connection(request: &ServiceRequest) -> Option<Arc<Connection>> {
    request.conn_data::<Arc<Connection>>().cloned()
}

/// The length of a request's body, unless it comes in chunks.
fn body_length(request: &ServiceRequest) -> Option<usize> {
    let headers = request.headers();
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let length = headers
        .get(CONTENT_LENGTH)
        .map(|it| it.to_str().ok()?.parse().ok());
    length.unwrap_or(Some(0))
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
