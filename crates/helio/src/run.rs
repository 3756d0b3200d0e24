//! The commands that need no running switch: `run` and `check`.

use std::io::{IsTerminal, Write};
use std::path::Path;

use helio_config::{Config, ConfigError, check_host};
use helio_filter::compile;
use tracing_subscriber::EnvFilter;

use crate::args::RunArgs;
use crate::failure::Failure;

/// Runs the switch until it is told to stop.
pub(crate) fn run(args: &RunArgs, control: Option<&Path>) -> Result<(), Failure> {
    start_log(args.log.as_deref());
    let mut config = load(&args.config)?;
    let in_file = config.switch.control.clone();
    complete(&mut config, control)?;
    if let Some(told) = control.filter(|_| in_file != config.switch.control) {
        let (told, in_file) = (told.display(), in_file.display());
        tracing::info!(
            "the control socket is {told}, by --control or HELIO_CONTROL, and not {in_file}"
        );
    }
    tracing::info!("starting with {}: {}", args.config.display(), summary(&config));
    helio_daemon::run(config)?;
    Ok(())
}

/// Tells whether `helio run` would accept the file.
pub(crate) fn check(file: &Path, control: Option<&Path>) -> Result<(), Failure> {
    let mut config = load(file)?;
    complete(&mut config, control)?;
    writeln!(std::io::stdout(), "{}: good, {}", file.display(), summary(&config))?;
    Ok(())
}

/// Puts in what the command line says, and holds the plan against this machine.
fn complete(config: &mut Config, control: Option<&Path>) -> Result<(), Failure> {
    if let Some(path) = control {
        config.set_control(path).map_err(Failure::Control)?;
    }
    check_host(config)?;
    Ok(())
}

/// The plan in `file`, with all filters compiled once to see whether they can be.
fn load(file: &Path) -> Result<Config, ConfigError> {
    let check = |filter: &str| compile(filter).map(drop).map_err(|error| error.to_string());
    Config::load_with(file, &check)
}

fn summary(config: &Config) -> String {
    let count = |count: usize, word: &str| {
        if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
    };
    let ports = count(config.ports.len(), "port");
    let workers = count(config.workers.len(), "worker");
    let sessions = match config.sessions.len() {
        0 => String::new(),
        named => format!(", {}", count(named, "mirror session")),
    };
    let control = config.switch.control.display();
    format!("{ports}{sessions}, {workers}, control socket {control}")
}

fn start_log(level: Option<&str>) {
    // The level was parsed by the command line already; what RUST_LOG says may be wrong, and is then not
    // worth stopping for.
    let filter = match level {
        Some(level) => EnvFilter::new(level),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
