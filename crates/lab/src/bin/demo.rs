//! Plays the story with real guests, and exits with failure when a phase does not come out right.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use helio_lab::{
    LabDir, LabError, MachineLock, QemuStage, Verdict, clean_up_when_interrupted, play,
};

/// Columbia pings crusader; sniffie sees it when columbia is a source.
#[derive(Debug, Parser)]
struct Arguments {}

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    match tell() {
        Ok(Verdict::Right) => {
            println!("\nthe story came out right");
            ExitCode::SUCCESS
        }
        Ok(Verdict::Wrong) => {
            println!("\nthe story came out WRONG");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the story could not be played: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Result<Verdict, LabError> {
    let dir = LabDir::new()?;
    clean_up_when_interrupted(dir.path().to_owned())?;
    let _lock = MachineLock::take()?;
    println!("booting columbia, crusader and pegasus");
    let begun = Instant::now();
    let mut stage = QemuStage::set(&dir)?;
    println!("all three are up after {:.1} s", begun.elapsed().as_secs_f32());
    play(&mut stage, &mut io::stdout())
}
