//! Changes to named mirror sessions while the switch runs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in what it calls")]

use helio_config::{Config, MirrorRate, SessionConfig, SessionSettings};

/// Two ports, and a session that has much to change.
fn sql() -> Config {
    let text = "[[port]]\nname = \"columbia\"\nsocket = \"/run/columbia.sock\"\n\
        [[port]]\nname = \"sniffie\"\nsocket = \"/run/sniffie.sock\"\n\
        [[mirror]]\nname = \"sql\"\nsource-ports = [\"columbia\"]\nfilter = \"tcp\"\nsnap-len = 128\n\
        rate-frames-per-s = 5\nrate-burst-frames = 7\n[[mirror.destination]]\nport = \"sniffie\"\n";
    Config::from_str(text, "helio.toml").unwrap()
}

#[test]
fn changes_replace_what_they_name_and_are_checked_with_what_stays() {
    let session = sql().sessions.remove(0);
    let change = |json: &str| {
        let settings: SessionSettings = serde_json::from_str(json).unwrap();
        settings.applied_to(&session)
    };
    assert_eq!(change("{}"), Ok(session.clone()));
    let changed = change(r#"{"source_labels":["sql"],"source_ports":[],"sample":2}"#).unwrap();
    assert_eq!((changed.sources.ports.len(), changed.sample.get()), (0, 2));
    assert_eq!(changed.filter, session.filter);
    let bare = change(r#"{"filter":"","snap_len":0,"rate_frames_per_s":0}"#).unwrap();
    assert_eq!((bare.filter, bare.snap_len, bare.rate), (None, None, None));
    let bytes = change(r#"{"rate_bytes_per_s":1000000}"#).unwrap().rate;
    assert!(matches!(bytes, Some(MirrorRate::BytesPerSecond { burst_bytes: 65_553, .. })));
    let burst = change(r#"{"rate_burst_frames":9}"#).unwrap().rate;
    assert!(
        matches!(burst, Some(MirrorRate::FramesPerSecond { burst_frames, .. }) if burst_frames.get() == 9)
    );
    for json in [
        r#"{"source_ports":[]}"#,
        r#"{"source_ports":["sniffie"]}"#,
        r#"{"destination":[]}"#,
        r#"{"rate_burst_bytes":9}"#,
    ] {
        assert!(change(json).is_err(), "{json}");
    }
    assert!(serde_json::from_str::<SessionSettings>(r#"{"name":"other"}"#).is_err());
    let refused =
        change(r#"{"destination":[{"port":"sniffie"},{"uplink":"uplink0"}]}"#).unwrap_err();
    assert!(refused.to_string().starts_with("destination[1]: the local is missing"), "{refused}");
}

#[test]
fn a_session_outlives_its_ports() {
    let mut config = sql();
    let old = config.sessions[0].clone();
    config.ports.clear();
    assert!(
        config
            .check_session_fits(&SessionConfig { name: "other".to_owned(), ..old.clone() })
            .is_err()
    );
    let change = |json: &str| {
        let settings: SessionSettings = serde_json::from_str(json).unwrap();
        config.check_session_change(&settings.applied_to(&old).unwrap(), &old)
    };
    assert_eq!(change(r#"{"sample":2}"#), Ok(()));
    let refused = change(r#"{"source_ports":["crusader"]}"#).unwrap_err();
    assert!(refused.to_string().contains("there is no port \"crusader\""), "{refused}");
    let refused = change(r#"{"destination":[{"port":"crusader"}]}"#).unwrap_err();
    assert!(refused.to_string().contains("there is no port \"crusader\""), "{refused}");
}
