//! Forwards frames between two interfaces as fast as one core can: the floor for switches between wires.
//! Usage: `helio-wire-forward INTERFACE INTERFACE`. It never sleeps, and ends with a signal.

use std::process::ExitCode;

use helio_wire::Forwarder;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [left, right] = words.as_slice() else {
        eprintln!("usage: helio-wire-forward INTERFACE INTERFACE");
        return ExitCode::FAILURE;
    };
    match Forwarder::open([left, right]) {
        Ok(mut forwarder) => {
            println!("ready");
            loop {
                forwarder.turn();
            }
        }
        Err(error) => {
            eprintln!("{left} and {right} cannot be joined: {error}");
            ExitCode::FAILURE
        }
    }
}
