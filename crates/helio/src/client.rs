//! One request to the control socket of a running switch.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use helio_api::ErrorReply;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::failure::Failure;

/// Longer than any request takes: removing a port waits for its holds, which is bounded.
const TIME: Duration = Duration::from_secs(30);

/// The way to a switch.
#[derive(Debug)]
pub(crate) struct Client {
    path: PathBuf,
}

impl Client {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The answer to a request without a body.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, Failure> {
        self.understand(&self.send(method, path, Bytes::new())?)
    }

    /// The answer to a request that carries `body`.
    pub(crate) fn tell<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| self.not_understood(error))?;
        self.understand(&self.send(method, path, body.into())?)
    }

    /// A request that is answered without words.
    pub(crate) fn order(&self, method: Method, path: &str) -> Result<(), Failure> {
        self.send(method, path, Bytes::new()).map(drop)
    }

    fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "helio")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| self.not_understood(error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, bytes) = runtime.block_on(async {
            tokio::time::timeout(TIME, self.exchange(request)).await.unwrap_or_else(|_| {
                Err(self.unreachable(format!("no answer within {} s", TIME.as_secs())))
            })
        })?;
        if status.is_success() { Ok(bytes) } else { Err(self.refusal(status, &bytes)) }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|error| self.unreachable(why_not_connected(&self.path, &error)))?;
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| self.not_understood(error))?;
        tokio::spawn(connection);
        let reply =
            sender.send_request(request).await.map_err(|error| self.not_understood(error))?;
        let status = reply.status();
        let body = reply.into_body().collect().await.map_err(|error| self.not_understood(error))?;
        Ok((status, body.to_bytes()))
    }

    fn understand<T: DeserializeOwned>(&self, bytes: &Bytes) -> Result<T, Failure> {
        serde_json::from_slice(bytes).map_err(|error| self.not_understood(error))
    }

    fn refusal(&self, status: StatusCode, bytes: &Bytes) -> Failure {
        match serde_json::from_slice::<ErrorReply>(bytes) {
            Ok(ErrorReply { error, hint, faults }) => Failure::Refused { error, hint, faults },
            Err(_) => self.not_understood(format!("status {status}")),
        }
    }

    fn unreachable(&self, why: String) -> Failure {
        Failure::Unreachable { path: self.path.clone(), why }
    }

    fn not_understood(&self, why: impl ToString) -> Failure {
        Failure::Answer { path: self.path.clone(), why: why.to_string() }
    }
}

/// Why nobody answered at `path`, and what to do.
fn why_not_connected(path: &Path, error: &io::Error) -> String {
    const RUNNING: &str = "is \"helio run\" running, or is it another --control PATH?";
    match error.kind() {
        io::ErrorKind::NotFound => format!("no such file; {RUNNING}"),
        // The same answer as from a socket that nobody serves.
        io::ErrorKind::ConnectionRefused if !is_socket(path) => {
            "it is no socket; name the one of the switch by --control".to_owned()
        }
        io::ErrorKind::ConnectionRefused => {
            format!("the socket is there, but nobody listens; {RUNNING}")
        }
        io::ErrorKind::PermissionDenied => {
            let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
            let owner = std::fs::metadata(path).map_or_else(
                |_| "become a user who may open its directory".to_owned(),
                |meta| format!("the socket is for user {} and group {}", meta.uid(), meta.gid()),
            );
            let (user, group) = (user.as_raw(), group.as_raw());
            format!("permission denied for user {user}, group {group}; {owner}")
        }
        _ => format!("{error}; {RUNNING}"),
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}
