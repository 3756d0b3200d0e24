//! Why a session ended, in words.

use vhost::vhost_user::Error as MessageError;
use vhost_user_backend::Error;

/// The sentence for what [`vhost_user_backend::VhostUserDaemon::wait`] returned.
pub(crate) fn sentence(end: &Result<(), Error>) -> String {
    match end {
        Ok(()) => "the front-end closed the connection".to_owned(),
        Err(Error::HandleRequest(error)) => message(error),
        Err(error) => error.to_string(),
    }
}

fn message(error: &MessageError) -> String {
    let known = match error {
        MessageError::Disconnected | MessageError::SocketBroken(_) => {
            "the front-end closed the connection"
        }
        MessageError::PartialMessage => {
            "the front-end closed the connection in the middle of a message"
        }
        MessageError::InvalidMessage | MessageError::OversizedMsg => {
            "the front-end sent a message that is malformed or not supported"
        }
        MessageError::IncorrectFds => "the front-end sent a wrong number of descriptors",
        MessageError::InvalidParam => "the front-end sent a message with a value out of range",
        MessageError::InactiveFeature(_) | MessageError::InactiveOperation(_) => {
            "the front-end sent a message that needs a feature it did not acknowledge"
        }
        other => return format!("a message of the front-end failed: {other}"),
    };
    known.to_owned()
}

/// Why we could not connect.
pub(crate) fn connect_sentence(error: &Error) -> String {
    match error {
        Error::CreateBackendReqHandler(MessageError::SocketConnect(cause)) => match cause.kind() {
            std::io::ErrorKind::NotFound => "no such file".to_owned(),
            std::io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => cause.to_string(),
        },
        other => other.to_string(),
    }
}
