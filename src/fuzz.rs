//! What fuzzers feed: for each parser of burdock's own a function of any bytes, which panics where a promise is broken.
//!
//! `fuzz/` calls them under cargo-fuzz, and the test below with the inputs that were worth keeping, so that what was found
//! once stays found. Nothing of this is built otherwise.

use crate::{admin, doors, exchange, session};

/// A target's name, which is also its folder of `fuzz/corpus`, and what it feeds.
pub type Target = (&'static str, fn(&[u8]));

/// All targets there are.
pub const TARGETS: [Target; 10] = [
    ("carriers", exchange::fuzz::carriers),
    ("destination", exchange::fuzz::destination),
    ("first_bytes", doors::fuzz::first_bytes),
    ("head", doors::fuzz::head),
    ("set_cookie", session::fuzz::set_cookie),
    ("cookie_merge", session::fuzz::cookie_merge),
    ("netscape", session::fuzz::netscape),
    ("playwright", session::fuzz::playwright),
    ("session_body", admin::fuzz::session_body),
    ("scrape_call", admin::fuzz::scrape_call),
];

/// Feeds `data` to the target called `name`.
///
/// # Panics
/// Where there is no such target, and where a promise is broken.
pub fn feed(name: &str, data: &[u8]) {
    let (_, target) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target of the table");
    target(data);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn fuzz(folder: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz")
            .join(folder)
    }

    fn entries(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn every_input_that_was_kept_keeps_its_promises() {
        for (name, target) in TARGETS {
            let corpus = entries(&fuzz("corpus").join(name));
            assert!(!corpus.is_empty(), "fuzz/corpus/{name} holds nothing");
            for file in corpus {
                let data = fs::read(&file).unwrap();
                let fed = std::panic::catch_unwind(|| target(&data));
                assert!(fed.is_ok(), "{name} breaks on {}", file.display());
            }
        }
    }

    #[test]
    fn every_target_is_fuzzed_and_no_other() {
        let stems = |folder: &str| -> BTreeSet<String> {
            entries(&fuzz(folder))
                .iter()
                .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
                .collect()
        };
        let known: BTreeSet<String> = TARGETS.map(|(name, _)| name.to_owned()).into();
        assert_eq!(stems("fuzz_targets"), known);
        assert_eq!(stems("corpus"), known);
    }

    #[test]
    fn the_corpus_stays_small() {
        let files = entries(&fuzz("corpus"));
        let bytes: u64 = files
            .iter()
            .flat_map(|folder| entries(folder))
            .map(|file| fs::metadata(file).unwrap().len())
            .sum();
        assert!(bytes < 1 << 20, "fuzz/corpus has {bytes} bytes");
    }
}
