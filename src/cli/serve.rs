//! `burdock serve`: runs until it is told to stop.

use std::process::ExitCode;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::args::{LogFormat, Logging};
use super::{fail, load};
use crate::app::{self, AppError, Listeners};
use crate::config::{Config, Sources};

pub(super) fn run(sources: Sources, logging: Logging) -> ExitCode {
    let config = match load(&sources) {
        Ok(config) => config,
        Err(code) => return code,
    };
    log(logging);
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let served = runtime.block_on(serve(config));
    // What did not finish within the grace is not waited for again.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

async fn serve(config: Config) -> Result<(), AppError> {
    let listeners = Listeners::bind(&config)?;
    let end = CancellationToken::new();
    let told = tokio::spawn(stop_on_signal(end.clone()));
    let served = app::run(config, listeners, end).await;
    told.abort();
    served
}

/// The first SIGTERM or SIGINT ends it in order, the second at once.
async fn stop_on_signal(end: CancellationToken) {
    let signals = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ]
    .map(signal);
    let [term, int, hup] = signals;
    let (mut term, mut int, mut hup) = match term.and_then(|term| Ok((term, int?, hup?))) {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!(%error, "signals cannot be listened for: they end burdock at once");
            return;
        }
    };
    loop {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = hup.recv() => {
                tracing::warn!("SIGHUP: this version does not reload its configuration; restart it instead");
                continue;
            }
        }
        if end.is_cancelled() {
            tracing::warn!("stopping at once");
            std::process::exit(1);
        }
        end.cancel();
    }
}

fn log(logging: Logging) {
    let registry = tracing_subscriber::registry().with(logging.level.targets());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match logging.format {
        LogFormat::Text => registry
            .with(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())))
            .init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
}
