//! The `burdock` binary: everything is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Measured against the system's: docs/PERFORMANCE.md says what it costs and brings.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    burdock::cli::run()
}
