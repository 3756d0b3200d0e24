//! Where the seeds come from: each is written here as what it means, and kept as the bytes that a target reads.
//!
//! With HELIO_WRITE_SEEDS=1 the files are written anew, for when the form of an input changes.
#![cfg(test)]

mod copies;
mod filters;
mod frames;
mod neighbours;
mod script;
mod switching;
mod texts;
mod wires;

use std::fs;
use std::path::Path;

use helio_fuzz::{Outcome, TARGETS};

/// An input with a name, and what must come of it.
struct Seed {
    target: &'static str,
    folder: &'static str,
    name: &'static str,
    bytes: Vec<u8>,
    accepted: u32,
    refused: u32,
}

impl Seed {
    fn new(target: &'static str, name: &'static str, bytes: Vec<u8>, outcome: [u32; 2]) -> Self {
        let [accepted, refused] = outcome;
        Self { target, folder: "corpus", name, bytes, accepted, refused }
    }

    /// One that has broken us once.
    fn kept(self) -> Self {
        Self { folder: "regressions", ..self }
    }
}

fn seeds() -> Vec<Seed> {
    let mut seeds = wires::transmit();
    seeds.extend(wires::receive());
    seeds.extend(frames::seeds());
    seeds.extend(switching::seeds());
    seeds.extend(copies::seeds());
    seeds.extend(neighbours::seeds());
    seeds.extend(filters::seeds());
    seeds.extend(texts::seeds());
    seeds
}

#[test]
fn every_seed_does_what_it_says() {
    let mut others = Vec::new();
    for seed in seeds() {
        let (_, target) = TARGETS.iter().find(|(name, _)| *name == seed.target).unwrap();
        // Shown when the target panics.
        println!("{}/{}", seed.target, seed.name);
        let outcome = target(&seed.bytes);
        if outcome != (Outcome { accepted: seed.accepted, refused: seed.refused }) {
            others.push((seed.target, seed.name, outcome));
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn every_seed_is_kept_as_it_is_written_here() {
    for seed in seeds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(seed.folder).join(seed.target);
        let file = folder.join(seed.name);
        if std::env::var_os("HELIO_WRITE_SEEDS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &seed.bytes).unwrap();
        }
        let kept = fs::read(&file).unwrap_or_default();
        assert_eq!(kept, seed.bytes, "{} is not as it is written here", file.display());
    }
}
