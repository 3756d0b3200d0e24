//! QEMU's machine protocol: one JSON object a line, over a Unix socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::console::connect;
use crate::error::LabError;

/// How long QEMU may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The connection to one QEMU.
#[derive(Debug)]
pub(crate) struct Qmp {
    lines: BufReader<UnixStream>,
}

impl Qmp {
    pub(crate) fn open(path: &Path) -> Result<Self, LabError> {
        let stream = connect(path)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(LabError::io("limit waiting for QEMU"))?;
        let mut qmp = Self { lines: BufReader::new(stream) };
        qmp.run("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Runs a command without arguments.
    pub(crate) fn run(&mut self, command: &str) -> Result<Value, LabError> {
        self.run_with(command, &json!({}))
    }

    /// Runs a command; events that come meanwhile are passed over.
    pub(crate) fn run_with(&mut self, command: &str, arguments: &Value) -> Result<Value, LabError> {
        let request = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        let write = self.lines.get_mut().write_all(request.as_bytes());
        write.map_err(LabError::io(format!("ask QEMU to {command}")))?;
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).map_err(LabError::io(format!("wait for {command}")))?;
            let answer: Value = serde_json::from_str(&line)
                .map_err(|_| LabError::Unreadable { what: "QEMU's answer", text: line.clone() })?;
            if let Some(error) = answer.get("error") {
                let command = command.to_owned();
                return Err(LabError::Refused { command, answer: error.to_string() });
            }
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
        }
    }
}
