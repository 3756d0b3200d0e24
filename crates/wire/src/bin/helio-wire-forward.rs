//! Forwards frames between two interfaces as fast as one core can: the floor for switches between wires.
//! Usage: `helio-wire-forward INTERFACE INTERFACE [WATCHER]`; WATCHER is an interface that all frames are sent on too. It never
//! sleeps, and ends with a signal.

use std::process::ExitCode;

use helio_wire::Forwarder;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (left, right, watcher) = match words.as_slice() {
        [left, right] => (left, right, None),
        [left, right, watcher] => (left, right, Some(watcher.as_str())),
        _ => {
            eprintln!("usage: helio-wire-forward INTERFACE INTERFACE [WATCHER]");
            return ExitCode::FAILURE;
        }
    };
    match Forwarder::open([left, right], watcher) {
        Ok(mut forwarder) => {
            println!("ready");
            loop {
                forwarder.turn();
            }
        }
        Err(error) => {
            eprintln!("{} cannot be joined: {error}", words.join(" and "));
            ExitCode::FAILURE
        }
    }
}
