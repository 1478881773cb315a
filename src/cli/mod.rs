//! The command line: arguments, one file a command, exit codes.

mod args;
mod ca;
mod check;
mod serve;

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use crate::config::{self, Config, Sources};

use self::args::{Command, Invocation};

/// Does what the process was asked to do.
///
/// Exits with 2 where the command line or the configuration is wrong, with 1 where something else is.
pub fn run() -> ExitCode {
    let Invocation { command, sources } = Invocation::of_process();
    match command {
        Command::Serve(logging) => serve::run(sources, logging),
        Command::Check => check::run(&sources),
        Command::Ca(what) => ca::run(&sources, what),
    }
}

/// The configuration; where there is a mistake in it all are told and the exit code is 2.
fn load(sources: &Sources) -> Result<Config, ExitCode> {
    config::load(sources).map_err(|mistakes| {
        eprintln!("{mistakes}");
        ExitCode::from(2)
    })
}

/// Writes a command's answer to the standard output.
fn answer(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough, as with `burdock ca print | head -1`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot write: {error}")),
    }
}

/// Tells why a command could not do its work.
fn fail(problem: &str) -> ExitCode {
    eprintln!("error: {problem}");
    ExitCode::FAILURE
}
