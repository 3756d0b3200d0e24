//! As much of HTTP/1.1 as one request over a Unix socket takes, with the bytes in our hands: a measurement wants to know
//! when exactly they leave.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::error::PerfError;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// JSON, or nothing.
    pub(crate) body: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Request {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self { method, path, body } = self;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: helio\r\nConnection: close\r\n");
        let about = match body.len() {
            0 => String::new(),
            len => format!("Content-Type: application/json\r\nContent-Length: {len}\r\n"),
        };
        format!("{head}{about}\r\n{body}").into_bytes()
    }
}

/// Connects to a control socket.
pub(crate) fn connect(socket: &Path) -> Result<UnixStream, PerfError> {
    let doing = || PerfError::io(format!("connect to {}", socket.display()));
    let stream = UnixStream::connect(socket).map_err(doing())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(doing())?;
    Ok(stream)
}

/// The answer to a request.
pub(crate) fn ask(socket: &Path, request: &Request) -> Result<Answer, PerfError> {
    let doing = || PerfError::io(format!("ask {}", socket.display()));
    let mut stream = connect(socket)?;
    stream.write_all(&request.bytes()).map_err(doing())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(doing())?;
    parse(&text).ok_or_else(|| PerfError::peer(socket.display().to_string(), text))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, text: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let request = Request { method: "PATCH", path: "/v1/x".into(), body: "{}".into() };
        let text = String::from_utf8(request.bytes()).unwrap();
        assert!(text.starts_with("PATCH /v1/x HTTP/1.1\r\n") && text.ends_with("\r\n\r\n{}"));
        assert!(text.contains("Content-Length: 2\r\n"));
    }

    #[test]
    fn an_answer_is_good_by_its_status() {
        let answer = parse("HTTP/1.1 404 Not Found\r\nx: y\r\n\r\n{\"a\":1}").unwrap();
        assert_eq!((answer.status, answer.text.as_str()), (404, "{\"a\":1}"));
        assert!(!answer.is_good());
        assert!(parse("HTTP/1.1 204 No Content\r\n\r\n").unwrap().is_good());
        assert_eq!(parse("nonsense"), None);
    }
}
