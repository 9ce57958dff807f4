//! Listening, and stopping without losing a request.
//!
//! Connections are served by hyper itself rather than by axum's own loop, because slow heads and
//! too many connections must be limited.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use impactiq_store::ScoreLog;
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::connection::Patient;
use crate::desk::{Desk, Parts, Stage};
use crate::error::ServeError;
use crate::http::router::{enter, router};
use crate::keys::Keys;
use crate::live::tick::Turn;
use crate::pressure;
use crate::registry::Registry;
use crate::settings::Settings;

/// Bytes of a connection that are read ahead; every connection may hold so many.
const READ_BUFFER: usize = 64 << 10;

/// A server that can be started.
#[derive(Debug)]
pub struct Server;

/// A server that answers, until it is stopped.
pub struct Running {
    address: SocketAddr,
    desk: Arc<Desk>,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
    ticking: JoinHandle<()>,
    watching: JoinHandle<()>,
}

impl Server {
    /// Opens models, keys and log, and answers from then on.
    ///
    /// # Errors
    /// Whatever is wrong with the settings' files and the address: [`ServeError`].
    pub async fn start(settings: Settings) -> Result<Running, ServeError> {
        let Settings { models, listen, keys, log, state, lookup, stream, limits } = settings;
        if keys.is_none() && !listen.ip().is_loopback() {
            return Err(ServeError::Unprotected { address: listen });
        }
        let keys = keys.map(|path| Keys::read(&path)).transpose()?;
        let opening = tokio::task::spawn_blocking(move || Registry::open(&models, state));
        let registry = opening.await.map_err(|error| ServeError::System {
            what: "opening the models",
            source: std::io::Error::other(error),
        })??;
        let log = match log {
            Some(log) => Some(ScoreLog::open(log).await?),
            None => None,
        };
        let id_start = SysRng.try_next_u64().map_err(|error| ServeError::Random { detail: error.to_string() })?;
        let desk = Arc::new(Desk::new(Parts { registry, keys, log, lookup, stream, limits, id_start }));
        for model in &desk.registry.shelf().models {
            desk.lend(model).await?;
        }
        let listening = |source| ServeError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let stop = CancellationToken::new();
        let ticking = tokio::spawn(tick(Arc::clone(&desk), stop.clone()));
        let watching = tokio::spawn(watch(Arc::clone(&desk), stop.clone()));
        let accepting = tokio::spawn(accept(listener, router(Arc::clone(&desk)), Arc::clone(&desk), stop.clone()));
        desk.enter(Stage::Ready);
        Ok(Running { address, desk, stop, accepting, ticking, watching })
    }
}

impl Running {
    /// Where it listens; the port is the real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address for a browser.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Names of the models, the active one first.
    pub fn models(&self) -> Vec<String> {
        let shelf = self.desk.registry.shelf();
        let others = shelf.models.iter().filter(|model| model.name != shelf.active().name);
        std::iter::once(shelf.active()).chain(others).map(|model| model.name.clone()).collect()
    }

    /// Stops: no new requests, those in flight are answered within the limit, the log is
    /// written to its end.
    pub async fn stop(self) {
        let Running { desk, stop, accepting, ticking, watching, .. } = self;
        tracing::info!("stopping: requests in flight are answered");
        desk.enter(Stage::Draining);
        // Streams would never end by themselves.
        desk.stopping.cancel();
        stop.cancel();
        for task in [accepting, ticking, watching] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the server failed");
            }
        }
        if let Some(log) = &desk.log {
            log.close().await;
        }
        tracing::info!("stopped");
    }
}

/// Ends a second, every second.
async fn tick(desk: Arc<Desk>, stop: CancellationToken) {
    let mut turn = Turn::begin();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = seconds.tick() => {
                let second = desk.live.turn(&mut turn);
                desk.publish(second);
            }
        }
    }
}

/// Watches how late the server is.
async fn watch(desk: Arc<Desk>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = pressure::watch(&desk.pressure) => {}
    }
}

/// Takes connections until it is told to stop, then waits for those that are open.
async fn accept(listener: TcpListener, router: Router, desk: Arc<Desk>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(desk.limits.max_connections.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(desk.limits.read_timeout).max_buf_size(READ_BUFFER);
    loop {
        // Connections beyond the limit wait in the system's own queue.
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Too many open files, a connection that is gone: the next one may do.
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        // Answers are small: waiting for more of them to fill a packet only costs time.
        let _ = stream.set_nodelay(true);
        let (router, for_requests) = (router.clone(), Arc::clone(&desk));
        let service = service_fn(move |request| {
            let (desk, router) = (Arc::clone(&for_requests), router.clone());
            async move { Ok::<_, Infallible>(enter(desk, router, request).await) }
        });
        let stream = Patient::new(stream, desk.limits.timeout);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client that hangs up or sends nonsense is no event of the server's.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(desk.limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were not answered in time and are cut off");
    }
}
