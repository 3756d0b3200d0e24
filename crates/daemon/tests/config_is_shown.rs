//! The configuration that a running switch shows: what it started with, and what became of it since.
#![cfg(test)]

mod support;

use std::path::Path;

use helio_api::ConfigInfo;
use helio_config::Config;
use helio_daemon::Daemon;
use serde_json::{Value, json};

use support::control::Control;

fn start(text: &str) -> Daemon {
    Daemon::start(Config::from_str(text, "test.toml").unwrap()).unwrap()
}

fn shown(control: &mut Control) -> ConfigInfo {
    serde_json::from_str(&control.request("GET", "/v1/config", "").body).unwrap()
}

#[track_caller]
fn change(control: &mut Control, method: &str, path: &str, body: &Value) {
    let answer = control.request(method, path, &body.to_string());
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.body);
}

/// Ports and sessions are added, changed and removed.
fn use_switch(control: &mut Control, folder: &Path) {
    let socket = |name: &str| folder.join(name);
    let late = json!({ "name": "late", "socket": socket("late"), "labels": ["sql"], "mtu": 1500 });
    change(control, "POST", "/v1/ports", &late);
    let gone = json!({ "name": "gone", "socket": socket("gone") });
    change(control, "POST", "/v1/ports", &gone);
    let to = json!([{ "port": "b" }]);
    let sql =
        json!({ "name": "sql", "source_labels": ["sql"], "snap_len": 128, "destination": to });
    change(control, "POST", "/v1/mirrors", &sql);
    let to = json!([{ "port": "gone" }]);
    let web = json!({ "name": "web", "source_ports": ["a"], "destination": to });
    change(control, "POST", "/v1/mirrors", &web);
    let settings = json!({ "mirroring": "source", "session": 7, "vlan": { "access": 10 } });
    change(control, "PATCH", "/v1/ports/a", &settings);
    change(control, "PATCH", "/v1/mirrors/sql", &json!({ "sample": 10 }));
}

#[test]
fn what_is_shown_has_all_that_was_changed_and_a_switch_that_starts_with_it_shows_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let here = folder.path().display();
    let text = format!(
        "[switch]\ncontrol = \"{here}/control.sock\"\n[[worker]]\ncore = 0\nidle-us = 7\n\
         [[port]]\nname = \"a\"\nsocket = \"{here}/a\"\n[[port]]\nname = \"b\"\nsocket = \"{here}/b\"\n\
         [[mirror]]\nsession = 7\nexact = true\n"
    );
    let daemon = start(&text);
    let mut control = Control::connect(&path);
    let fresh = shown(&mut control);
    assert_eq!(Config::from_str(&fresh.toml, "shown"), Config::from_str(&text, "test.toml"));
    use_switch(&mut control, folder.path());

    assert_eq!(control.request("DELETE", "/v1/ports/gone", "").status, 204);
    let refused = shown(&mut control).problems;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("mirror.web.destination[0].port: there is no port \"gone\""));
    assert_eq!(control.request("DELETE", "/v1/mirrors/web", "").status, 204);

    let before = shown(&mut control);
    let plan = Config::from_str(&before.toml, "shown").unwrap();
    let ports: Vec<_> = plan.ports.iter().map(|port| (&*port.name, port.session.0)).collect();
    assert_eq!(ports, [("a", 7), ("b", 0), ("late", 0)]);
    let sessions: Vec<_> = plan.sessions.iter().map(|one| (&*one.name, one.sample.get())).collect();
    assert_eq!(sessions, [("sql", 10)]);
    drop(control);
    daemon.stop();

    let daemon = start(&before.toml);
    assert_eq!(shown(&mut Control::connect(&path)), before);
    assert_eq!(before.problems, [""; 0]);
    daemon.stop();
}
