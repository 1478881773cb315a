//! What burdock promises its users, a file a promise, a test a sentence of it, against the real program.
//!
//! All of it is one program, since linking is what test builds spend their time on.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "panicking is how a test fails"
)]

use std::path::Path;

mod support;

mod adapters;
mod admin;
mod agreement;
mod ca;
mod cli;
mod clients;
mod connections;
mod cookie_table;
mod cookies;
mod egress;
mod errors;
mod faults;
mod fields;
mod http2;
mod isolation;
mod limits;
mod lint;
mod malformed;
mod memory;
mod overload;
mod pairs;
mod proxy;
mod readme;
mod safety;
mod scrape;
mod sessions;
mod shutdown;
mod tunnels;

#[test]
fn every_file_of_tests_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read =
        |file: &str| std::fs::read_to_string(root.join(file)).expect("a file of the repository");
    let (manifest, modules) = (read("Cargo.toml"), read("tests/promises.rs"));
    for entry in std::fs::read_dir(root.join("tests")).expect("a readable folder") {
        let name = entry
            .expect("a readable entry")
            .file_name()
            .into_string()
            .expect("UTF-8");
        let Some(stem) = name.strip_suffix(".rs") else {
            continue;
        };
        let target = manifest.contains(&format!("path = \"tests/{name}\""));
        let module = modules.contains(&format!("\nmod {stem};"));
        assert!(
            target || module,
            "tests/{name} is neither a [[test]] of Cargo.toml nor a module of promises.rs"
        );
    }
}
