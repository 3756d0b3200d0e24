//! The control socket as curl and other clients see it.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in what it calls"
)]

mod fake_switch;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fake_switch::FakeSwitch;
use helio_control::{ControlServer, Limits, serve, serve_within};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

struct Lab {
    server: ControlServer,
    _folder: tempfile::TempDir,
}

fn lab(limits: Limits) -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let server = serve_within(Arc::new(FakeSwitch::three_guests()), &path, limits).unwrap();
    Lab { server, _folder: folder }
}

impl Lab {
    /// One request over a connection of its own, by the hyper client.
    fn ask(&self, method: Method, path: &str, body: impl Into<Bytes>) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "helio")
            .body(Full::new(body.into()))
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = tokio::net::UnixStream::connect(self.server.path()).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let reply = sender.send_request(request).await.unwrap();
            let status = reply.status();
            let bytes = reply.into_body().collect().await.unwrap().to_bytes();
            let value = if bytes.is_empty() {
                Value::Null
            } else {
                serde_json::from_slice(&bytes).expect("every body is JSON")
            };
            (status, value)
        })
    }

    fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask(Method::GET, path, "");
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.server.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }
}

#[test]
fn every_list_is_an_array_with_the_promised_keys() {
    let lab = lab(Limits::default());
    let ports = lab.get("/v1/ports");
    assert_eq!(ports.as_array().unwrap().len(), 3);
    assert_eq!(ports[0]["drops"], json!({"no-rx-buffer": 3}));
    let mirrors = lab.get("/v1/mirrors");
    assert_eq!(mirrors[0]["destinations"][0]["port"], "sniffie");
    assert_eq!(lab.get("/v1/workers")[0]["core"], 1);
    let config = json!({"toml": "# the ports columbia crusader sniffie\n", "problems": []});
    assert_eq!(lab.get("/v1/config"), config);
    assert_eq!(lab.get("/v1/version")["pid"], std::process::id());
    assert_eq!(lab.get("/v1/fdb").as_array().unwrap().len(), 2);
    assert_eq!(lab.get("/v1/fdb?vlan=10&port=crusader").as_array().unwrap().len(), 1);
    assert_eq!(lab.get("/v1/fdb?vlan=10&port=columbia"), json!([]));
}

#[test]
fn mirroring_is_turned_on_and_off_by_a_patch() {
    let lab = lab(Limits::default());
    for (word, sources) in [("source", json!(["columbia"])), ("none", json!([]))] {
        let body = json!({ "mirroring": word }).to_string();
        let (status, port) = lab.ask(Method::PATCH, "/v1/ports/columbia", body);
        assert_eq!((status, &port["mirroring"]), (StatusCode::OK, &json!(word)));
        assert_eq!(lab.get("/v1/mirrors")[0]["sources"], sources);
    }
}

#[test]
fn a_port_is_added_and_removed() {
    let lab = lab(Limits::default());
    let body = json!({"name": "pegasus", "socket": "/run/pegasus.sock", "vlan": {"access": 10}});
    let (status, port) = lab.ask(Method::POST, "/v1/ports", body.to_string());
    assert_eq!((status, &port["vlan"]), (StatusCode::CREATED, &json!({"access": 10})));
    let (status, error) = lab.ask(Method::POST, "/v1/ports", body.to_string());
    assert_eq!(status, StatusCode::CONFLICT, "{error}");
    let removal = lab.ask(Method::DELETE, "/v1/ports/pegasus", "");
    assert_eq!(removal, (StatusCode::NO_CONTENT, Value::Null));
    assert_eq!(lab.ask(Method::DELETE, "/v1/ports/pegasus", "").0, StatusCode::NOT_FOUND);
}

const SQL: &str =
    r#"{"name":"sql","source_ports":["columbia"],"destination":[{"port":"sniffie"}]}"#;

#[test]
fn a_mirror_session_is_added_changed_shown_and_removed() {
    let lab = lab(Limits::default());
    let (status, session) = lab.ask(Method::POST, "/v1/mirrors", SQL);
    assert_eq!((status, &session["name"]), (StatusCode::CREATED, &json!("sql")));
    assert_eq!(session["settings"]["sample"], 1);
    assert_eq!(lab.ask(Method::POST, "/v1/mirrors", SQL).0, StatusCode::CONFLICT);
    let (status, session) = lab.ask(Method::PATCH, "/v1/mirrors/sql", r#"{"sample":10}"#);
    assert_eq!((status, &session["settings"]["sample"]), (StatusCode::OK, &json!(10)));
    assert_eq!(lab.get("/v1/mirrors/sql")["destinations"][0]["port"], "sniffie");
    assert_eq!(lab.get("/v1/mirrors/0")["session"], 0);
    assert_eq!(lab.get("/v1/mirrors").as_array().unwrap().len(), 2);
    let removal = lab.ask(Method::DELETE, "/v1/mirrors/sql", "");
    assert_eq!(removal, (StatusCode::NO_CONTENT, Value::Null));
    assert_eq!(lab.ask(Method::DELETE, "/v1/mirrors/sql", "").0, StatusCode::NOT_FOUND);
    assert_eq!(lab.ask(Method::GET, "/v1/mirrors/sql", "").0, StatusCode::NOT_FOUND);
}

#[test]
fn wrong_requests_are_answered_with_an_error_in_json() {
    let lab = lab(Limits::default());
    let long = "x".repeat(64);
    for (method, path, body, status, words) in [
        (Method::GET, "/v1/ports/nobody", "", 404, "there is no port \"nobody\""),
        (Method::GET, "/v1/nothing", "", 404, "there is nothing at /v1/nothing"),
        (Method::PUT, "/v1/ports", "", 405, "/v1/ports does not take PUT"),
        (Method::POST, "/v1/ports", "{", 400, "was not understood"),
        (Method::POST, "/v1/ports", r#"{"name":"a"}"#, 400, "socket is empty; write a path"),
        (
            Method::POST,
            "/v1/ports",
            r#"{"name":"a","socket":"/s","mtu":1}"#,
            400,
            "mtu = 1 is out of range",
        ),
        (Method::PATCH, "/v1/ports/columbia", "{}", 400, "changes nothing"),
        (
            Method::PATCH,
            "/v1/ports/columbia",
            r#"{"mirroring":"sorce"}"#,
            400,
            "did you mean \"source\"?",
        ),
        (Method::GET, "/v1/fdb?vlan=ten", "", 400, "vlan"),
        (Method::GET, "/v1/fdb?colour=red", "", 400, "colour"),
        (Method::GET, "/v1/fdb?port=nobody", "", 404, "there is no port \"nobody\""),
        (
            Method::GET,
            "/v1/ports/columbia/qemu-args?queue_pairs=9",
            "",
            400,
            "offers 8 queue pairs",
        ),
        (Method::GET, &format!("/v1/ports/{long}"), "", 400, "cannot be the name of a port"),
        (Method::GET, "/v1/ports/%ff", "", 400, "UTF-8"),
        (Method::POST, "/v1/mirrors", r#"{"name":"a"}"#, 400, "the session watches nothing"),
        (Method::POST, "/v1/mirrors", r#"{"nam":"a"}"#, 400, "unknown field `nam`"),
        (
            Method::POST,
            "/v1/mirrors",
            r#"{"name":"a","source_ports":["b"],"destination":[{"port":"b"}]}"#,
            400,
            "would be watched again",
        ),
        (Method::PATCH, "/v1/mirrors/nobody", r#"{"sample":2}"#, 404, "no mirror session"),
        (Method::PATCH, "/v1/mirrors/nobody", "{}", 400, "changes nothing"),
        (Method::GET, "/v1/mirrors/a%20b", "", 400, "cannot be the name of a session"),
        (Method::DELETE, "/v1/mirrors/0", "", 404, "changed by"),
        (Method::PUT, "/v1/mirrors/sql", "", 405, "/v1/mirrors/sql does not take PUT"),
    ] {
        let (got, error) = lab.ask(method, path, body);
        assert_eq!(got.as_u16(), status, "{path} {body}: {error}");
        assert!(
            error.to_string().contains(words) || error["error"].as_str().unwrap().contains(words),
            "{error}"
        );
        assert!(error["hint"].is_string());
    }
}

#[test]
fn what_is_wrong_with_settings_is_told_one_by_one() {
    let lab = lab(Limits::default());
    let session = r#"{"name":"a","source_ports":["b"],"snap_len":5,"destination":[{"port":"c"},{"port":"b"}]}"#;
    let (_, error) = lab.ask(Method::POST, "/v1/mirrors", session);
    let faults = &error["faults"];
    assert_eq!((&faults[0]["key"], faults[0].get("destination")), (&json!("snap_len"), None));
    assert_eq!(
        faults[0]["message"],
        "snap-len = 5 is out of range; write a number from 14 to 65553"
    );
    assert_eq!((&faults[1]["key"], &faults[1]["destination"]), (&json!("port"), &json!(1)));
    let (status, error) = lab.ask(Method::PATCH, "/v1/ports/columbia", r#"{"session":256}"#);
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(error["error"], "session = 256 is out of range; write a number from 0 to 255");
    assert_eq!(error["faults"][0]["key"], "session");
    let (_, error) = lab.ask(Method::GET, "/v1/ports/nobody", "");
    assert_eq!(error.get("faults"), None, "no setting is to blame");
}

#[test]
fn a_body_of_64_kib_is_read_and_a_longer_one_is_not() {
    let lab = lab(Limits::default());
    let request = r#"{"mirroring":"source"}"#;
    let padded = |bytes: usize| format!("{request}{}", " ".repeat(bytes - request.len()));
    let (status, _) = lab.ask(Method::PATCH, "/v1/ports/columbia", padded(64 * 1024));
    assert_eq!(status, StatusCode::OK);
    let (status, error) = lab.ask(Method::PATCH, "/v1/ports/columbia", padded(64 * 1024 + 1));
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{error}");
}

#[test]
fn qemu_options_are_made_for_the_port() {
    let lab = lab(Limits::default());
    let args = lab.get("/v1/ports/columbia/qemu-args?queue_pairs=2&memory_mib=512");
    let text = args["args"].to_string();
    assert!(text.contains("path=/run/helio/columbia.sock") && text.contains("queues=2"), "{text}");
    assert!(text.contains("size=512M,share=on"), "{text}");
}

#[test]
fn a_call_that_panics_costs_its_request_only() {
    let lab = lab(Limits::default());
    let (status, error) = lab.ask(Method::GET, "/v1/ports/panic", "");
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{error}");
    assert_eq!(lab.get("/v1/ports").as_array().unwrap().len(), 3);
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let lab = lab(Limits { idle: Duration::from_millis(200), ..Limits::default() });
    let mut silent = lab.connect();
    let mut kept_alive = lab.connect();
    kept_alive.write_all(b"GET /v1/version HTTP/1.1\r\nhost: helio\r\n\r\n").unwrap();
    let mut cut = lab.connect();
    cut.write_all(b"GET /v1/ver").unwrap();
    for stream in [&mut silent, &mut kept_alive, &mut cut] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the server closes in time");
    }
}

#[test]
fn more_connections_than_allowed_wait_for_their_turn() {
    let lab = lab(Limits { connections: 1, ..Limits::default() });
    let first = lab.connect();
    let mut second = lab.connect();
    second.write_all(b"GET /v1/version HTTP/1.0\r\n\r\n").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(second.read(&mut [0; 16]).is_err(), "the second must not be served beside the first");
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut reply = String::new();
    second.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.0 200 OK"), "{reply}");
}

#[test]
fn stopping_takes_a_bounded_time_and_removes_the_socket() {
    let lab = lab(Limits { farewell: Duration::from_millis(300), ..Limits::default() });
    let path = lab.server.path().to_owned();
    let mut idle = lab.connect();
    idle.write_all(b"POST /v1/ports HTTP/1.1\r\nhost: helio\r\ncontent-length: 10\r\n\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    lab.server.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(!path.exists());
}

#[test]
fn a_second_switch_on_the_same_socket_is_refused_in_one_sentence() {
    let lab = lab(Limits::default());
    let error = serve(Arc::new(FakeSwitch::default()), lab.server.path()).unwrap_err();
    assert!(error.to_string().starts_with("another helio is running"), "{error}");
    assert_eq!(lab.get("/v1/ports").as_array().unwrap().len(), 3);
}
