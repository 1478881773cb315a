//! The composition root: builds everything from a configuration, runs it, and takes it down in order.

mod build;
mod listen;
mod stores;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::build::Parts;
pub use self::listen::{BindError, Listeners};
pub use self::stores::probe;
use crate::adapters::{InvalidMongodb, InvalidRedis};
use crate::admin;
use crate::browser;
use crate::ca::CaError;
use crate::config::Config;
use crate::doors;
use crate::registry::{Registry, RegistryError};
use crate::seal::KeyFileError;
use crate::upstream::tls::RootsError;

/// Why burdock cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The certificate authority cannot be opened or made.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A file of `tls.upstream_ca_files` cannot be used.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The file of `sessions.encryption_key_file` cannot be used.
    #[error("sessions.encryption_key_file: {0}")]
    Keys(#[from] KeyFileError),
    /// `adapters.redis` names no Redis.
    #[error(transparent)]
    Redis(#[from] InvalidRedis),
    /// `adapters.mongodb` is not valid.
    #[error("adapters.mongodb: {0}")]
    Mongodb(#[from] InvalidMongodb),
    /// The sessions cannot be set up.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// Serves until `end` is cancelled, then lets what is under way finish within `shutdown_grace`.
///
/// # Errors
/// [`AppError`] where it cannot begin; once it serves, it ends only by `end`.
pub async fn run(
    config: Config,
    listeners: Listeners,
    end: CancellationToken,
) -> Result<(), AppError> {
    let grace = config.proxy.shutdown_grace;
    let cleanup_interval = config.sessions.cleanup_interval;
    let tasks = TaskTracker::new();
    let closing = CancellationToken::new();
    let Parts {
        house,
        admin,
        browsers,
        inner,
        upkeep,
    } = build::build(&config, &listeners, tasks.clone(), closing.clone())?;
    announce(&listeners, house.ca.path());
    warn_of_browser(&config);
    tokio::spawn({
        let browsers = Arc::clone(&browsers);
        async move { browsers.start().await }
    });
    tokio::spawn(warn_of_stores(Arc::clone(&house.exchange.registry)));

    let places = Arc::new(Semaphore::new(
        house.bounds.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    for listener in listeners.proxy {
        tasks.spawn(doors::accept(
            Arc::clone(&house),
            listener,
            Arc::clone(&places),
        ));
    }
    for listener in listeners.admin {
        tasks.spawn(admin::serve(listener, Arc::clone(&admin), closing.clone()));
    }
    let upkeep_end = CancellationToken::new();
    let upkeep = tokio::spawn(upkeep.run(cleanup_interval, upkeep_end.clone()));

    end.cancelled().await;
    tracing::info!(grace = ?grace, "stopping: requests in flight may finish");
    closing.cancel();
    let deadline = Instant::now() + grace;
    drain(&tasks, deadline, "connections of clients").await;
    browsers.close().await;
    inner.closing.cancel();
    drain(&inner.tasks, deadline, "connections of browsers").await;
    // Nobody asks for anything any more: what is left to origins is told the end, uploads are finished.
    house.exchange.registry.close_pools();
    let to_origins = &house.exchange.pool_terms.tasks;
    drain(to_origins, deadline, "connections to origins").await;
    upkeep_end.cancel();
    if let Err(error) = upkeep.await {
        tracing::error!(%error, "the last changes may not have been stored");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Which browser would render pages, in words.
///
/// # Errors
/// Why none would.
pub fn find_browser(config: &Config) -> Result<String, String> {
    let browser = &config.browser;
    if !browser.enabled {
        return Ok("off (`browser.enabled = false`)".to_owned());
    }
    if let [first, more @ ..] = &*browser.endpoints {
        return Ok(format!("remote: {first} and {} more", more.len()));
    }
    browser::find(browser.executable.as_deref())
        .map(|path| path.display().to_string())
        .map_err(|error| error.to_string())
}

/// A browser that the configuration names is missed at once; one that would be found on PATH when it is asked for.
fn warn_of_browser(config: &Config) {
    if config.browser.executable.is_some()
        && let Err(problem) = find_browser(config)
    {
        tracing::warn!(problem, "pages cannot be rendered");
    }
}

/// A store that cannot be reached does not keep burdock from starting: its sessions are answered 503.
async fn warn_of_stores(registry: Arc<Registry>) {
    for (_, health) in registry.health().await {
        if let Err(error) = health {
            tracing::warn!(%error, "sessions of this adapter cannot be used");
        }
    }
}

async fn drain(tasks: &TaskTracker, deadline: Instant, what: &str) {
    tasks.close();
    if timeout_at(deadline, tasks.wait()).await.is_err() {
        tracing::warn!(
            count = tasks.len(),
            what,
            "cutting off what did not finish within `proxy.shutdown_grace`"
        );
    }
}

fn announce(listeners: &Listeners, ca: &Path) {
    for address in listeners.proxy_addresses() {
        tracing::info!(listener = "proxy", %address, "listening");
    }
    for address in listeners.admin_addresses() {
        tracing::info!(listener = "admin", %address, "listening");
    }
    tracing::info!(ca = %ca.display(), "clients need to trust this certificate");
}
