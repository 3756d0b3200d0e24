//! The plan as text that [`Config::from_str`] reads: with every setting, also those that are as usual.
//!
//! Ports and sessions go the way by which they become JSON. What always holds: the text of a plan that was read gives that plan
//! again.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use toml::{Table, Value};

use crate::read::{PORT_KEYS, SWITCH_KEYS, WORKER_KEYS};
use crate::read_mirror::{DESTINATION_KEYS, MIRROR_KEYS};
use crate::{
    Config, MirrorConfig, PollMode, PortEntry, SessionEntry, SocketGroup, SwitchConfig,
    WorkerConfig,
};

/// A setting that TOML has no form for.
type Unwritable = toml::ser::Error;

impl Config {
    /// This plan as the text of a configuration file.
    ///
    /// A session may have outlived ports it names; reading it is refused then, as for any session that names a port which is
    /// not there.
    ///
    /// # Errors
    ///
    /// A sentence, when a setting cannot be written. No setting that was read is of that kind.
    pub fn to_toml(&self) -> Result<String, String> {
        self.write().map_err(|error| error.to_string())
    }

    fn write(&self) -> Result<String, Unwritable> {
        let mut text = String::new();
        section(&mut text, "[switch]", SWITCH_KEYS, &switch_entry(&self.switch)?);
        for worker in &self.workers {
            section(&mut text, "\n[[worker]]", WORKER_KEYS, &worker_entry(worker)?);
        }
        for port in &self.ports {
            let entry = entry(&PortEntry::from(port.clone()))?;
            section(&mut text, "\n[[port]]", PORT_KEYS, &entry);
        }
        for mirror in &self.mirrors {
            section(&mut text, "\n[[mirror]]", MIRROR_KEYS, &numbered_entry(*mirror));
        }
        for session in &self.sessions {
            let mut written = SessionEntry::from(session.clone());
            let destinations = std::mem::take(&mut written.destination);
            section(&mut text, "\n[[mirror]]", MIRROR_KEYS, &entry(&written)?);
            for destination in &destinations {
                let entry = entry(destination)?;
                section(&mut text, "[[mirror.destination]]", DESTINATION_KEYS, &entry);
            }
        }
        Ok(text)
    }
}

/// Writes a table: the keys that it has of `keys`, in their order. Empty values stand for what is left out.
fn section(text: &mut String, header: &str, keys: &[&str], table: &Table) {
    let mut line = |line: std::fmt::Arguments<'_>| {
        // A text takes every line.
        let _ = writeln!(text, "{line}");
    };
    line(format_args!("{header}"));
    for key in keys {
        if let Some(value) = table.get(*key).filter(|value| !is_empty(value)) {
            line(format_args!("{key} = {value}"));
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Table(table) => table.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

/// What stands for `written` in JSON, with the keys as a file spells them.
fn entry(written: &impl Serialize) -> Result<Table, Unwritable> {
    Table::try_from(written).map(in_kebab_case)
}

fn in_kebab_case(table: Table) -> Table {
    let spelt = |(key, value): (String, Value)| (key.replace('_', "-"), spell_inside(value));
    table.into_iter().map(spelt).collect()
}

fn spell_inside(value: Value) -> Value {
    match value {
        Value::Table(table) => Value::Table(in_kebab_case(table)),
        Value::Array(values) => Value::Array(values.into_iter().map(spell_inside).collect()),
        plain => plain,
    }
}

fn switch_entry(switch: &SwitchConfig) -> Result<Table, Unwritable> {
    let mut table = Table::new();
    let mut put = |key: &str, value| table.insert(key.to_owned(), value);
    put("control", Value::from(&*switch.control.to_string_lossy()));
    put("socket-mode", Value::from(format!("{:04o}", switch.access.mode)));
    match &switch.access.group {
        Some(SocketGroup::Name(name)) => put("socket-group", Value::from(name.as_str())),
        Some(SocketGroup::Id(id)) => put("socket-group", Value::from(*id)),
        None => None,
    };
    put("fdb-size", Value::try_from(switch.fdb_size)?);
    put("fdb-ageing-s", Value::try_from(switch.fdb_ageing.as_secs())?);
    Ok(table)
}

fn worker_entry(worker: &WorkerConfig) -> Result<Table, Unwritable> {
    let mut table = Table::new();
    table.insert("core".to_owned(), Value::try_from(worker.core)?);
    table.insert("poll".to_owned(), Value::from(worker.poll.name()));
    if let PollMode::Adaptive { idle } = worker.poll {
        table.insert("idle-us".to_owned(), Value::try_from(micros(idle))?);
    }
    Ok(table)
}

/// What was read fits; longer than all time is for ever.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn numbered_entry(mirror: MirrorConfig) -> Table {
    let number = Value::from(u32::from(mirror.session.0));
    let entries = [("session", number), ("exact", Value::from(mirror.exact))];
    entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
}
