//! The paths of the control socket. Every call into the switch runs on a thread that may block.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use helio_api::{
    FdbFilter, PortEntry, PortSettings, QemuRequest, SessionEntry, SessionSettings, SettingsEntry,
    VersionInfo,
};
use serde::Serialize;

use crate::control_error::error_response;
use crate::request::{Asked, Named, NamedMirror, read_checked, read_json};
use crate::{ControlError, Switch};

const PATHS: &str = "the paths are /v1/ports, /v1/ports/NAME, /v1/ports/NAME/qemu-args, /v1/mirrors, /v1/mirrors/NAME, /v1/fdb, /v1/config, /v1/workers and /v1/version";

/// All paths, in front of `switch`.
pub(crate) fn router<S: Switch>(switch: Arc<S>) -> Router {
    Router::new()
        .route("/v1/ports", get(ports::<S>).post(add_port::<S>))
        .route("/v1/ports/{name}", get(port::<S>).patch(set_port::<S>).delete(remove_port::<S>))
        .route("/v1/ports/{name}/qemu-args", get(qemu_args::<S>))
        .route("/v1/mirrors", get(mirrors::<S>).post(add_mirror::<S>))
        .route(
            "/v1/mirrors/{name}",
            get(mirror::<S>).patch(set_mirror::<S>).delete(remove_mirror::<S>),
        )
        .route("/v1/fdb", get(fdb::<S>).delete(flush_fdb::<S>))
        .route("/v1/config", get(config::<S>))
        .route("/v1/workers", get(workers::<S>))
        .route("/v1/version", get(version))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(switch)
}

/// Makes `call` where it may block, and answers with what it returns.
async fn answer<S, T>(
    status: StatusCode,
    switch: Arc<S>,
    call: impl FnOnce(&S) -> Result<T, ControlError> + Send + 'static,
) -> Response
where
    S: Switch,
    T: Serialize + Send + 'static,
{
    match tokio::task::spawn_blocking(move || call(&switch)).await {
        Ok(Ok(value)) => (status, Json(value)).into_response(),
        Ok(Err(error)) => error.into_response(),
        Err(error) => {
            tracing::error!("a control call did not return: {error}");
            ControlError::internal("the switch broke off this request")
                .hint("the log of \"helio run\" tells more")
                .into_response()
        }
    }
}

/// As [`answer`], for a call that changes something. What was `done` is logged, for who wonders later: the switch keeps its
/// settings in no file.
async fn change<S, T>(
    status: StatusCode,
    switch: Arc<S>,
    done: String,
    call: impl FnOnce(&S) -> Result<T, ControlError> + Send + 'static,
) -> Response
where
    S: Switch,
    T: Serialize + Send + 'static,
{
    let response = answer(status, switch, call).await;
    if response.status().is_success() {
        tracing::info!("{done}");
    }
    response
}

/// `settings` for the log.
fn as_json(settings: &impl Serialize) -> String {
    serde_json::to_string(settings).unwrap_or_default()
}

async fn ports<S: Switch>(State(switch): State<Arc<S>>) -> Response {
    answer(StatusCode::OK, switch, S::ports).await
}

async fn add_port<S: Switch>(State(switch): State<Arc<S>>, body: Body) -> Response {
    match read_checked(body, PortEntry::check).await {
        Ok(port) => {
            let done = format!("port {} added: {}", port.name, as_json(&port));
            change(StatusCode::CREATED, switch, done, move |s| s.add_port(port)).await
        }
        Err(refusal) => refusal,
    }
}

async fn port<S: Switch>(State(switch): State<Arc<S>>, Named(name): Named) -> Response {
    answer(StatusCode::OK, switch, move |s| s.port(&name)).await
}

async fn set_port<S: Switch>(
    State(switch): State<Arc<S>>,
    Named(name): Named,
    body: Body,
) -> Response {
    let checked = |entry: &SettingsEntry| PortSettings::try_from(entry.clone());
    match read_checked(body, checked).await {
        Ok(settings) if settings.is_empty() => ControlError::invalid("the request changes nothing")
            .hint("name at least one of mirroring, session, vlan, mtu, receive_only and labels")
            .into_response(),
        Ok(settings) => {
            let done = format!("port {name} changed: {}", as_json(&settings));
            change(StatusCode::OK, switch, done, move |s| s.set_port(&name, settings)).await
        }
        Err(refusal) => refusal,
    }
}

async fn remove_port<S: Switch>(State(switch): State<Arc<S>>, Named(name): Named) -> Response {
    let done = format!("port {name} removed");
    without_words(change(StatusCode::OK, switch, done, move |s| s.remove_port(&name)).await)
}

/// There is nothing to tell about what is gone.
fn without_words(response: Response) -> Response {
    if response.status() == StatusCode::OK {
        StatusCode::NO_CONTENT.into_response()
    } else {
        response
    }
}

async fn qemu_args<S: Switch>(
    State(switch): State<Arc<S>>,
    Named(name): Named,
    Asked(request): Asked<QemuRequest>,
) -> Response {
    answer(StatusCode::OK, switch, move |s| s.qemu_args(&name, &request)).await
}

async fn mirrors<S: Switch>(State(switch): State<Arc<S>>) -> Response {
    answer(StatusCode::OK, switch, S::mirrors).await
}

async fn add_mirror<S: Switch>(State(switch): State<Arc<S>>, body: Body) -> Response {
    match read_checked(body, SessionEntry::check).await {
        Ok(session) => {
            let done = format!("mirror session {} added: {}", session.name, as_json(&session));
            change(StatusCode::CREATED, switch, done, move |s| s.add_mirror(session)).await
        }
        Err(refusal) => refusal,
    }
}

async fn mirror<S: Switch>(
    State(switch): State<Arc<S>>,
    NamedMirror(name): NamedMirror,
) -> Response {
    answer(StatusCode::OK, switch, move |s| s.mirror(&name)).await
}

async fn set_mirror<S: Switch>(
    State(switch): State<Arc<S>>,
    NamedMirror(name): NamedMirror,
    body: Body,
) -> Response {
    match read_json::<SessionSettings>(body).await {
        Ok(settings) if settings.is_empty() => ControlError::invalid("the request changes nothing")
            .hint("name at least one setting of the session")
            .into_response(),
        Ok(settings) => {
            let done = format!("mirror session {name} changed: {}", as_json(&settings));
            change(StatusCode::OK, switch, done, move |s| s.set_mirror(&name, settings)).await
        }
        Err(refusal) => refusal,
    }
}

async fn remove_mirror<S: Switch>(
    State(switch): State<Arc<S>>,
    NamedMirror(name): NamedMirror,
) -> Response {
    let done = format!("mirror session {name} removed");
    without_words(change(StatusCode::OK, switch, done, move |s| s.remove_mirror(&name)).await)
}

async fn fdb<S: Switch>(State(switch): State<Arc<S>>, Asked(filter): Asked<FdbFilter>) -> Response {
    let call = move |switch: &S| {
        // An empty answer would hide that the name is misspelt.
        filter.port.as_deref().map(|port| switch.port(port)).transpose()?;
        let mut entries = switch.fdb()?;
        entries.retain(|entry| filter.matches(entry));
        Ok(entries)
    };
    answer(StatusCode::OK, switch, call).await
}

async fn flush_fdb<S: Switch>(
    State(switch): State<Arc<S>>,
    Asked(filter): Asked<FdbFilter>,
) -> Response {
    answer(StatusCode::OK, switch, move |s| s.flush_fdb(&filter)).await
}

async fn config<S: Switch>(State(switch): State<Arc<S>>) -> Response {
    answer(StatusCode::OK, switch, S::config).await
}

async fn workers<S: Switch>(State(switch): State<Arc<S>>) -> Response {
    answer(StatusCode::OK, switch, S::workers).await
}

async fn version() -> Json<VersionInfo> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(VersionInfo { version, pid: std::process::id() })
}

async fn no_such_path(uri: Uri) -> Response {
    ControlError::not_found(format!("there is nothing at {}", uri.path()))
        .hint(PATHS)
        .into_response()
}

async fn no_such_method(method: axum::http::Method, uri: Uri) -> Response {
    let error = format!("{} does not take {method}", uri.path());
    error_response(StatusCode::METHOD_NOT_ALLOWED, error, PATHS)
}
