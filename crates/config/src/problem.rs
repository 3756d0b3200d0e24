//! What is wrong with a configuration, in sentences that say what to write instead.

use std::fmt;

/// One thing wrong in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, counted from 1; `None` when the file could not be read at all.
    pub line: Option<usize>,
    /// Letter of the line, counted from 1, where the text is no TOML; `None` where the key says it better.
    pub column: Option<usize>,
    /// The key, with the table it stands in, as `port.columbia.mtu`; empty when no key is to blame.
    pub key: String,
    /// What is wrong and what to write instead, in one sentence.
    pub message: String,
}

/// Why a configuration file was refused: every problem found, in the order of the lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as the caller named it.
    pub file: String,
    /// All problems found.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            if let Some(column) = problem.column {
                write!(f, ":{column}")?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", problem.key)?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One thing wrong with a single port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFault {
    /// The key to blame, as it is spelt in the configuration file.
    pub key: &'static str,
    /// What is wrong and what to write instead, in one sentence that names the value.
    pub message: String,
}

/// Why a port was refused: every fault found. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortError {
    /// All faults found.
    pub faults: Vec<PortFault>,
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.faults.iter().enumerate() {
            if position > 0 {
                f.write_str("; also, ")?;
            }
            f.write_str(&fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for PortError {}

/// Collects faults, so that one run tells all of them.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<PortFault>);

impl Faults {
    /// Notes that `key` is wrong.
    pub(crate) fn add(&mut self, key: &'static str, message: String) {
        self.0.push(PortFault { key, message });
    }

    /// The good value, or nothing after noting why.
    pub(crate) fn keep<T>(&mut self, key: &'static str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(key, message)).ok()
    }

    /// Notes all of `faults` at `key`, whatever theirs were.
    pub(crate) fn take_as(&mut self, key: &'static str, faults: Self) {
        self.0.extend(faults.0.into_iter().map(|fault| PortFault { key, ..fault }));
    }

    /// `value` if nothing was noted.
    pub(crate) fn none_or<T>(self, value: Option<T>) -> Result<T, PortError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(PortError { faults: self.0 }),
        }
    }
}

/// One thing wrong with a mirror session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFault {
    /// Position of the destination that is wrong; `None` when it is the session itself.
    pub destination: Option<usize>,
    /// The key to blame, as it is spelt in the configuration file.
    pub key: &'static str,
    /// What is wrong and what to write instead, in one sentence that names the value.
    pub message: String,
}

/// Why a mirror session was refused: every fault found. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionError {
    /// All faults found.
    pub faults: Vec<SessionFault>,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.faults.iter().enumerate() {
            if position > 0 {
                f.write_str("; also, ")?;
            }
            if let Some(destination) = fault.destination {
                write!(f, "destination[{destination}]: ")?;
            }
            f.write_str(&fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for SessionError {}

/// Collects the faults of a session and of its destinations.
#[derive(Debug, Default)]
pub(crate) struct SessionFaults(Vec<SessionFault>);

impl SessionFaults {
    /// Notes all of `faults`, of the session itself or of the destination at a position.
    pub(crate) fn take(&mut self, destination: Option<usize>, faults: Faults) {
        let named = |PortFault { key, message }| SessionFault { destination, key, message };
        self.0.extend(faults.0.into_iter().map(named));
    }

    /// `value` if nothing was noted.
    pub(crate) fn none_or<T>(self, value: Option<T>) -> Result<T, SessionError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(SessionError { faults: self.0 }),
        }
    }
}
