//! What a request carries: its body, its query and the name in its path, each with limits and with errors
//! in JSON.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use helio_config::{check_port_name, check_session_name};
use serde::de::DeserializeOwned;

use crate::ControlError;
use crate::control_error::error_response;

/// Longest body, in bytes; a port takes a few hundred.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// A body that is not there after this time is not waited for.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The value in `body`, whatever its content type: curl names a wrong one.
pub(crate) async fn read_json<T: DeserializeOwned>(body: Body) -> Result<T, Response> {
    let read = tokio::time::timeout(BODY_TIME, to_bytes(body, MAX_BODY_BYTES)).await;
    let bytes = match read {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let error =
                format!("the body of the request has more than {MAX_BODY_BYTES} bytes, or was cut");
            return Err(error_response(StatusCode::PAYLOAD_TOO_LARGE, error, ""));
        }
        Err(_) => {
            let error = format!("the body of the request was not there after {BODY_TIME:?}");
            return Err(error_response(StatusCode::REQUEST_TIMEOUT, error, ""));
        }
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        ControlError::invalid(format!("the request was not understood: {error}")).into_response()
    })
}

/// What stands in `body`, after a check that says in a sentence of its own what is wrong with it.
pub(crate) async fn read_checked<W: DeserializeOwned, T, E>(
    body: Body,
    check: impl FnOnce(&W) -> Result<T, E>,
) -> Result<T, Response>
where
    ControlError: From<E>,
{
    let written = read_json(body).await?;
    check(&written).map_err(|error| ControlError::from(error).into_response())
}

/// The query of a request, as `?vlan=10`.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ControlError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ControlError> {
        let query = Query::try_from_uri(&parts.uri)
            .map_err(|error| ControlError::invalid(error.body_text()))?;
        Ok(Self(query.0))
    }
}

/// The name of a port in the path of a request.
#[derive(Debug)]
pub(crate) struct Named(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ControlError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ControlError> {
        let name = name_in_path(parts, state).await?;
        check_port_name(&name).map_err(ControlError::invalid)?;
        Ok(Self(name))
    }
}

/// The name or the number of a mirror session in the path of a request.
#[derive(Debug)]
pub(crate) struct NamedMirror(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for NamedMirror {
    type Rejection = ControlError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ControlError> {
        let name = name_in_path(parts, state).await?;
        if name.parse::<u8>().is_err() {
            check_session_name(&name).map_err(ControlError::invalid)?;
        }
        Ok(Self(name))
    }
}

async fn name_in_path<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<String, ControlError> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(name)| name).map_err(|error| ControlError::invalid(error.body_text()))
}
