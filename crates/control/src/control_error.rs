//! Why a request was refused, and the HTTP status that says so.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, http};
use helio_api::{ErrorReply, FaultInfo};
use helio_config::{PortError, SessionError};

/// Whose turn it is after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlErrorKind {
    /// What the request names does not exist. Status 404.
    NotFound,
    /// The request contradicts what is there. Status 409.
    Conflict,
    /// The request itself is wrong. Status 400.
    Invalid,
    /// The switch could not do it, and the request is not to blame. Status 500.
    Internal,
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ControlError {
    /// Whose turn it is.
    pub kind: ControlErrorKind,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it; empty when the sentence says it all.
    pub hint: String,
    /// The settings that are wrong, if it is about settings.
    pub faults: Vec<FaultInfo>,
}

impl ControlError {
    /// A refusal without a hint.
    #[must_use]
    pub fn new(kind: ControlErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: String::new(), faults: Vec::new() }
    }

    /// There is no port of that name.
    #[must_use]
    pub fn no_such_port(name: &str) -> Self {
        Self::new(ControlErrorKind::NotFound, format!("there is no port {name:?}"))
            .hint("\"helio port list\" names all ports")
    }

    /// There is no mirror session of that name, or only one with that number, which is as the settings of its ports are.
    #[must_use]
    pub fn no_such_mirror(name: &str) -> Self {
        Self::new(ControlErrorKind::NotFound, format!("there is no mirror session {name:?}"))
            .hint("\"helio mirror list\" names all sessions; one with a number is changed by \"helio port set\"")
    }

    /// What is named does not exist.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ControlErrorKind::NotFound, message)
    }

    /// The request contradicts what is there.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ControlErrorKind::Conflict, message)
    }

    /// The request itself is wrong.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ControlErrorKind::Invalid, message)
    }

    /// The switch could not do it.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ControlErrorKind::Internal, message)
    }

    /// The same refusal with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same refusal because of what is there already.
    #[must_use]
    pub fn of_conflict(mut self) -> Self {
        self.kind = ControlErrorKind::Conflict;
        self
    }

    fn status(&self) -> StatusCode {
        match self.kind {
            ControlErrorKind::NotFound => StatusCode::NOT_FOUND,
            ControlErrorKind::Conflict => StatusCode::CONFLICT,
            ControlErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ControlErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<PortError> for ControlError {
    fn from(error: PortError) -> Self {
        let faults = error.faults.iter().map(FaultInfo::from).collect();
        Self { faults, ..Self::invalid(error.to_string()) }
    }
}

impl From<SessionError> for ControlError {
    fn from(error: SessionError) -> Self {
        let faults = error.faults.iter().map(FaultInfo::from).collect();
        Self { faults, ..Self::invalid(error.to_string()) }
    }
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = self.status();
        let Self { kind: _, message: error, hint, faults } = self;
        (status, Json(ErrorReply { error, hint, faults })).into_response()
    }
}

/// A refusal with a status of HTTP's own.
pub(crate) fn error_response(
    status: http::StatusCode,
    error: impl Into<String>,
    hint: impl Into<String>,
) -> Response {
    let (error, hint) = (error.into(), hint.into());
    (status, Json(ErrorReply { error, hint, faults: Vec::new() })).into_response()
}
