//! The thread that serves the control socket: accepts, limits, and stops within a bounded time.

use std::fmt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use helio_config::SocketAccess;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::routes::router;
use crate::socket::ControlSocket;
use crate::{ServeError, Switch};

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time; more wait in the queue of the kernel.
    pub connections: usize,
    /// A connection on which no request arrives for this long is closed.
    pub idle: Duration,
    /// Requests that are under way when the server stops have this long to end.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 64, idle: Duration::from_secs(30), farewell: Duration::from_secs(2) }
    }
}

/// Threads for calls that may block. Few, because calls into the switch wait for each other anyway.
const BLOCKING_THREADS: usize = 4;

/// Serves `switch` on the control socket at `path`, in a thread of its own.
///
/// # Errors
///
/// The socket or the thread cannot be made; the error says what to do.
pub fn serve<S: Switch>(switch: Arc<S>, path: &Path) -> Result<ControlServer, ServeError> {
    serve_to(switch, path, &SocketAccess::default())
}

/// As [`serve`], for those whom `access` names.
///
/// # Errors
///
/// As [`serve`]; also when the socket cannot be given to its group.
pub fn serve_to<S: Switch>(
    switch: Arc<S>,
    path: &Path,
    access: &SocketAccess,
) -> Result<ControlServer, ServeError> {
    start(switch, path, access, Limits::default())
}

/// As [`serve`], with limits other than the usual ones.
///
/// # Errors
///
/// As [`serve`].
pub fn serve_within<S: Switch>(
    switch: Arc<S>,
    path: &Path,
    limits: Limits,
) -> Result<ControlServer, ServeError> {
    start(switch, path, &SocketAccess::default(), limits)
}

fn start<S: Switch>(
    switch: Arc<S>,
    path: &Path,
    access: &SocketAccess,
    limits: Limits,
) -> Result<ControlServer, ServeError> {
    let (socket, listener) = ControlSocket::bind(path, access)?;
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build();
    let runtime = runtime.map_err(ServeError::Thread)?;
    let (stop, stopping) = watch::channel(());
    let path = socket.path().to_owned();
    let thread = std::thread::Builder::new()
        .name("helio-control".to_owned())
        .spawn(move || run(&socket, listener, runtime, router(switch), limits, stopping))
        .map_err(ServeError::Thread)?;
    Ok(ControlServer { path, stop: Some(stop), thread: Some(thread) })
}

/// A control socket that is being served. Dropping it stops the server, as [`ControlServer::stop`] does.
pub struct ControlServer {
    path: PathBuf,
    /// Dropped to stop the thread.
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Accepts no more, lets requests that are under way end within [`Limits::farewell`], and removes the
    /// file of the socket.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the control socket broke off");
        }
    }
}

impl fmt::Debug for ControlServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlServer").field("path", &self.path).finish_non_exhaustive()
    }
}

fn run(
    socket: &ControlSocket,
    listener: StdListener,
    runtime: Runtime,
    router: Router,
    limits: Limits,
    stopping: watch::Receiver<()>,
) {
    runtime.block_on(async {
        match UnixListener::from_std(listener) {
            Ok(listener) => accept(listener, router, limits, stopping).await,
            Err(error) => {
                tracing::error!("the control socket {} fails: {error}", socket.path().display());
            }
        }
    });
    // A call that hangs in the switch is left behind: the process is about to end.
    runtime.shutdown_timeout(limits.farewell);
}

async fn accept(
    listener: UnixListener,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // The sender says nothing; it goes away.
            _ = stopping.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < limits.connections => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), limits, stopping.clone()));
                }
                Err(error) => {
                    tracing::warn!("a control connection was not accepted: {error}");
                    // Without a pause a lack of descriptors would make this a busy loop.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.farewell, ended).await.is_err() {
        tracing::warn!("control requests were broken off by the stop");
    }
}

async fn connection(
    stream: UnixStream,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<()>,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.idle);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a control connection ended: {error}");
    }
}
