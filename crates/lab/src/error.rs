//! What can go wrong around the switch, told by whose turn it is to act.

use std::fs;
use std::io;
use std::path::Path;

/// Why the lab could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The machine lacks a program or a file; the remedy says how to get it.
    #[error("{what} is missing; {remedy}")]
    Missing {
        /// The program or file.
        what: String,
        /// What the person should do.
        remedy: &'static str,
    },
    /// The host refused an operation.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// The host's answer.
        source: io::Error,
    },
    /// Something did not happen in the time given.
    #[error("waited too long for {waiting_for}; last seen:\n{seen}")]
    TooLate {
        /// What was to happen.
        waiting_for: String,
        /// The last that was seen of it.
        seen: String,
    },
    /// A process that should run has ended.
    #[error("{who} has ended; its last words:\n{last_words}")]
    Ended {
        /// Name of the process.
        who: String,
        /// The end of its output.
        last_words: String,
    },
    /// A command was understood and answered with an error.
    #[error("{command} failed:\n{answer}")]
    Refused {
        /// The command.
        command: String,
        /// What it said.
        answer: String,
    },
    /// An answer has another form than we know.
    #[error("{what} cannot be read: {text}")]
    Unreadable {
        /// Which answer.
        what: &'static str,
        /// Its text.
        text: String,
    },
    /// A guest in user space met something it did not expect.
    #[error("a guest in user space: {0}")]
    Guest(#[from] helio_guest::GuestError),
}

impl LabError {
    /// For `map_err`: names what was being done when the host refused.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// The last lines of a text, for error messages.
pub(crate) fn tail(text: &str) -> String {
    const LINES: usize = 25;
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(LINES);
    lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
}

/// The last lines of a log file; a file that cannot be read has none.
pub(crate) fn tail_of(log: &Path) -> String {
    tail(&String::from_utf8_lossy(&fs::read(log).unwrap_or_default()))
}
