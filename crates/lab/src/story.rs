//! The story the product was founded on: columbia pings crusader, and pegasus' card "sniffie" captures the echoes when,
//! and only when, columbia is set to "source". Nobody is restarted.

use std::io::{self, Write};

use helio_types::Mirroring;

use crate::echo::each_once;
use crate::error::LabError;

/// Echo requests in each phase.
pub const PINGS: u16 = 5;

/// Those who play: three guests and a switch, whose port "sniffie" is a destination from the beginning.
pub trait Stage {
    /// Sets the part that a port takes in mirroring session 0.
    ///
    /// # Errors
    ///
    /// When the switch refuses.
    fn set_mirroring(&mut self, port: &str, mirroring: Mirroring) -> Result<(), LabError>;

    /// Begins to capture on sniffie.
    ///
    /// # Errors
    ///
    /// When the capture does not start.
    fn start_capture(&mut self) -> Result<(), LabError>;

    /// Lets columbia ping crusader, and tells how many of the `count` requests were answered.
    ///
    /// # Errors
    ///
    /// When columbia cannot ping at all.
    fn ping(&mut self, count: u16) -> Result<u16, LabError>;

    /// Ends the capture once `expected` frames were seen, or will not be; gives a line for each ICMP frame it saw.
    ///
    /// # Errors
    ///
    /// When the capture does not answer.
    fn end_capture(&mut self, expected: usize) -> Result<Vec<String>, LabError>;
}

/// What sniffie must see in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Nothing,
    AllOnce,
}

/// One phase: what is changed before it, and what must come out.
struct Phase {
    title: &'static str,
    changes: &'static [(&'static str, Mirroring)],
    expected: Expected,
}

const PHASES: [Phase; 4] = [
    Phase { title: "mirroring none", changes: &[], expected: Expected::Nothing },
    Phase {
        title: "columbia is a source",
        changes: &[("columbia", Mirroring::Source)],
        expected: Expected::AllOnce,
    },
    Phase {
        title: "columbia and crusader are sources",
        changes: &[("crusader", Mirroring::Source)],
        expected: Expected::AllOnce,
    },
    Phase {
        title: "mirroring none again",
        changes: &[("columbia", Mirroring::None), ("crusader", Mirroring::None)],
        expected: Expected::Nothing,
    },
];

/// Whether the story came out as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In every phase.
    Right,
    /// Not in every phase; which, and how, was printed.
    Wrong,
}

/// Plays all phases and tells `out` what sniffie saw in each.
///
/// # Errors
///
/// When the stage fails; a phase that comes out wrong is a verdict, not an error.
pub fn play(stage: &mut dyn Stage, out: &mut dyn Write) -> Result<Verdict, LabError> {
    let mut verdict = Verdict::Right;
    for (index, phase) in PHASES.iter().enumerate() {
        say(out, format_args!("\nphase {}: {}", index + 1, phase.title))?;
        if play_phase(stage, phase, out)? == Verdict::Wrong {
            verdict = Verdict::Wrong;
        }
    }
    Ok(verdict)
}

fn play_phase(
    stage: &mut dyn Stage,
    phase: &Phase,
    out: &mut dyn Write,
) -> Result<Verdict, LabError> {
    for (port, mirroring) in phase.changes {
        say(out, format_args!("  helio port set {port} --mirroring {mirroring}"))?;
        stage.set_mirroring(port, *mirroring)?;
    }
    let expected = match phase.expected {
        Expected::Nothing => 0,
        Expected::AllOnce => 2 * usize::from(PINGS),
    };
    stage.start_capture()?;
    let answered = stage.ping(PINGS)?;
    let seen = stage.end_capture(expected)?;
    say(out, format_args!("  columbia pinged crusader: {answered} of {PINGS} answered"))?;
    if seen.is_empty() {
        say(out, format_args!("  sniffie saw nothing of it"))?;
    } else {
        say(out, format_args!("  sniffie saw:"))?;
    }
    for line in &seen {
        say(out, format_args!("    {line}"))?;
    }
    match judge(phase.expected, answered, &seen) {
        Ok(()) => {
            say(out, format_args!("  right"))?;
            Ok(Verdict::Right)
        }
        Err(why) => {
            say(out, format_args!("  WRONG: {why}"))?;
            Ok(Verdict::Wrong)
        }
    }
}

fn judge(expected: Expected, answered: u16, seen: &[String]) -> Result<(), String> {
    if answered != PINGS {
        return Err(format!("only {answered} of {PINGS} pings were answered"));
    }
    match expected {
        Expected::AllOnce => each_once(seen, PINGS),
        Expected::Nothing if seen.is_empty() => Ok(()),
        Expected::Nothing => Err(format!("sniffie should see nothing, it saw {}", seen.len())),
    }
}

fn say(out: &mut dyn Write, text: std::fmt::Arguments<'_>) -> Result<(), LabError> {
    let written: io::Result<()> = out.write_fmt(text).and_then(|()| out.write_all(b"\n"));
    written.map_err(LabError::io("print"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a switch that makes `copies` for each source of a frame, and loses the replies it is told to.
    struct Paper {
        sources: Vec<String>,
        copies: fn(sources: usize) -> usize,
        answered: u16,
        seen: Vec<String>,
    }

    impl Paper {
        fn new(copies: fn(usize) -> usize) -> Self {
            Self { sources: vec![], copies, answered: PINGS, seen: vec![] }
        }

        fn play(&mut self) -> (Verdict, String) {
            let mut out = Vec::new();
            let verdict = play(self, &mut out).unwrap();
            (verdict, String::from_utf8(out).unwrap())
        }
    }

    impl Stage for Paper {
        fn set_mirroring(&mut self, port: &str, mirroring: Mirroring) -> Result<(), LabError> {
            self.sources.retain(|source| source != port);
            if mirroring == Mirroring::Source {
                self.sources.push(port.to_owned());
            }
            Ok(())
        }

        fn start_capture(&mut self) -> Result<(), LabError> {
            self.seen.clear();
            Ok(())
        }

        fn ping(&mut self, count: u16) -> Result<u16, LabError> {
            for _ in 0..(self.copies)(self.sources.len()) {
                for sequence in 0..count {
                    for kind in ["request", "reply"] {
                        self.seen
                            .push(format!("ICMP echo {kind}, id 1, seq {sequence}, length 64"));
                    }
                }
            }
            Ok(self.answered)
        }

        fn end_capture(&mut self, _expected: usize) -> Result<Vec<String>, LabError> {
            Ok(self.seen.clone())
        }
    }

    #[test]
    fn a_switch_that_copies_each_frame_once_plays_the_story_right() {
        let (verdict, text) = Paper::new(|sources| sources.min(1)).play();
        assert_eq!(verdict, Verdict::Right, "{text}");
        assert_eq!(text.matches("  right\n").count(), 4, "{text}");
    }

    #[test]
    fn a_copy_for_each_of_two_sources_is_wrong() {
        let (verdict, text) = Paper::new(|sources| sources).play();
        assert_eq!(verdict, Verdict::Wrong);
        assert_eq!(text.matches("WRONG").count(), 1, "{text}");
    }

    #[test]
    fn a_switch_that_never_or_always_copies_is_wrong() {
        assert_eq!(Paper::new(|_| 0).play().1.matches("WRONG").count(), 2);
        assert_eq!(Paper::new(|_| 1).play().1.matches("WRONG").count(), 2);
    }

    #[test]
    fn a_lost_ping_is_wrong_even_when_the_copies_are_right() {
        let mut paper = Paper::new(|sources| sources.min(1));
        paper.answered = PINGS - 1;
        assert_eq!(paper.play().1.matches("WRONG").count(), 4);
    }
}
