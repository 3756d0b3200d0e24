//! The client of the control socket: HTTP/1.1 over one connection, one request at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use helio_api::{MirrorInfo, PortInfo};
use serde_json::{Value, from_str};

use super::PATIENCE;

/// One connection to the control socket.
pub struct Control {
    stream: BufReader<UnixStream>,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        from_str(&self.body).unwrap()
    }
}

impl Control {
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub fn request(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: helio\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Answer {
        let status = self.line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = 0;
        loop {
            let line = self.line().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        Answer { status, body: String::from_utf8(body).unwrap() }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn ports(&mut self) -> Vec<PortInfo> {
        from_str(&self.done("GET", "/v1/ports", "").body).unwrap()
    }

    pub fn port(&mut self, name: &str) -> PortInfo {
        from_str(&self.done("GET", &format!("/v1/ports/{name}"), "").body).unwrap()
    }

    pub fn mirrors(&mut self) -> Vec<MirrorInfo> {
        from_str(&self.done("GET", "/v1/mirrors", "").body).unwrap()
    }

    /// Changes settings of a port. `settings` is JSON.
    #[track_caller]
    pub fn set(&mut self, name: &str, settings: &Value) -> PortInfo {
        let answer = self.done("PATCH", &format!("/v1/ports/{name}"), &settings.to_string());
        from_str(&answer.body).unwrap()
    }

    /// A request that is carried out.
    #[track_caller]
    fn done(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let answer = self.request(method, path, body);
        assert!((200..300).contains(&answer.status), "{method} {path} {body}: {}", answer.body);
        answer
    }
}
