//! Every input that is kept holds, on any toolchain.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::{fs, io};

use helio_fuzz::{Outcome, TARGETS};

/// The files kept for `target`, in the order of their names.
fn inputs(folder: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
    let entries = match fs::read_dir(&folder) {
        // Not every target has been broken.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        entries => entries.unwrap(),
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn run(target: fn(&[u8]) -> Outcome, file: &Path) -> Outcome {
    // Shown when the target panics.
    println!("{}", file.display());
    target(&fs::read(file).unwrap())
}

#[test]
fn every_kept_input_of_every_target_holds_and_some_are_taken_and_some_refused() {
    for (name, target) in TARGETS {
        let (mut accepted, mut refused) = (0, 0);
        for file in inputs("corpus", name).iter().chain(&inputs("regressions", name)) {
            let outcome = run(target, file);
            accepted += outcome.accepted;
            refused += outcome.refused;
        }
        assert!(accepted > 0 && refused > 0, "{name}: {accepted} taken, {refused} refused");
    }
}

#[test]
fn every_kept_input_belongs_to_a_target() {
    for folder in ["corpus", "regressions"] {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
        for entry in entries {
            let name = entry.unwrap().file_name();
            assert!(TARGETS.iter().any(|(target, _)| name == *target), "{folder}/{name:?}");
        }
    }
}

#[test]
fn every_prefix_and_every_changed_byte_of_a_seed_holds() {
    for (name, target) in TARGETS {
        for file in inputs("corpus", name) {
            let input = fs::read(&file).unwrap();
            println!("{}", file.display());
            // Enough to be worth it on every change, and few enough to take no time.
            let step = input.len() / 40 + 1;
            for at in (0..input.len()).step_by(step) {
                target(&input[..at]);
                let mut changed = input.clone();
                changed[at] ^= 0xff;
                target(&changed);
            }
        }
    }
}

#[test]
fn every_target_has_its_libfuzzer_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let program = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("helio_fuzz::{name}::run(data)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
