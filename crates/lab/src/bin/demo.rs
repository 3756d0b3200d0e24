//! Plays the story, and exits with failure when a phase does not come out right.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use helio_lab::{
    LabDir, LabError, MachineLock, QemuStage, Stage, UserSpaceStage, Verdict,
    clean_up_when_interrupted, play,
};

/// Columbia pings crusader; sniffie sees it when columbia is a source.
#[derive(Debug, Parser)]
struct Arguments {
    /// Play with guests in user space instead of booting real ones in QEMU.
    #[arg(long)]
    no_qemu: bool,
}

fn main() -> ExitCode {
    match tell(&Arguments::parse()) {
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

fn tell(arguments: &Arguments) -> Result<Verdict, LabError> {
    let dir = LabDir::new()?;
    clean_up_when_interrupted(dir.path().to_owned())?;
    let _lock = MachineLock::take()?;
    let verdict = tell_in(&dir, arguments);
    if !matches!(verdict, Ok(Verdict::Right)) {
        dir.keep();
    }
    verdict
}

fn tell_in(dir: &LabDir, arguments: &Arguments) -> Result<Verdict, LabError> {
    println!("starting the switch, columbia, crusader and pegasus");
    let begun = Instant::now();
    let mut stage: Box<dyn Stage> = match arguments.no_qemu {
        true => Box::new(UserSpaceStage::set(dir)?),
        false => Box::new(QemuStage::set(dir)?),
    };
    println!("all are up after {:.1} s", begun.elapsed().as_secs_f32());
    play(stage.as_mut(), &mut io::stdout())
}
