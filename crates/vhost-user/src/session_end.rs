//! Why a session ended, in words.

use vhost::vhost_user::Error as MessageError;
use vhost_user_backend::Error;

use crate::gate::Closed;

/// The sentence for a session whose gate closed for the reason `closed`, after which its daemon returned `end`.
pub(crate) fn sentence(closed: &Closed, end: &Result<(), Error>) -> String {
    match closed {
        Closed::ByFrontEnd => "the front-end closed the connection".to_owned(),
        Closed::InMessage => {
            "the front-end closed the connection in the middle of a message".to_owned()
        }
        Closed::Refused(what) => format!("the front-end sent {what}"),
        Closed::Stopped => "the port was stopped".to_owned(),
        Closed::ByBackEnd => match end {
            Ok(()) => "the connection broke".to_owned(),
            Err(Error::HandleRequest(error)) => message(error),
            Err(error) => error.to_string(),
        },
    }
}

fn message(error: &MessageError) -> String {
    let known = match error {
        MessageError::InvalidMessage | MessageError::OversizedMsg => "a malformed message",
        MessageError::IncorrectFds => "a message with a wrong number of descriptors",
        MessageError::InvalidParam => "a message with a value out of range",
        MessageError::InactiveFeature(_) | MessageError::InactiveOperation(_) => {
            "a message that needs a feature it did not acknowledge"
        }
        MessageError::InvalidOperation(what) => {
            return format!("a message of the front-end was refused: {what}");
        }
        MessageError::ReqHandlerError(cause) => {
            return format!("a message of the front-end was refused: {cause}");
        }
        other => return format!("a message of the front-end failed: {other}"),
    };
    format!("the front-end sent {known}")
}
