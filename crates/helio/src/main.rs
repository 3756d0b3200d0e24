//! The one program: `helio run` starts the switch, every other command asks the one that runs.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 not understood.
#![forbid(unsafe_code)]

mod args;
mod ask;
mod bench;
mod bench_args;
mod client;
mod failure;
mod mirror_args;
mod print;
mod print_mirror;
mod run;
mod table;
mod vlan_arg;
mod wording;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Nobody may be listening any more; the exit code still tells.
            let _ = usage.print();
            return if usage.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match command(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads our output has read enough, as `head` does.
        Err(Failure::Output(cause)) if cause.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "helio: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn command(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => run::run(&args, cli.control.as_deref()),
        Command::Check(args) => run::check(&args.file, cli.control.as_deref()),
        Command::Bench(bench) => bench::bench(&bench, cli.control, cli.form),
        Command::Ask(request) => ask::ask(request, cli.control, cli.form),
    }
}
