//! The `burdock` binary: everything is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// glibc's allocator takes a tenth of the user time of a kept-alive request (docs/PERFORMANCE.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    burdock::cli::run()
}
