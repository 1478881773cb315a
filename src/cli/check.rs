//! `burdock check`: whether the configuration is valid, and the stores that it names are there.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::runtime::Runtime;

use crate::app;
use crate::config::{Config, Sources};

/// Prints what the configuration comes to, or every mistake in it; then what is wrong with its stores. Exits with 1 where one
/// cannot be used.
pub(super) fn run(sources: &Sources) -> ExitCode {
    let config = match super::load(sources) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&format!("cannot start threads: {error}")),
    };
    let health = match runtime.block_on(app::probe(&config)) {
        Ok(health) => health,
        Err(error) => return super::fail(&error.to_string()),
    };
    runtime.shutdown_background();
    let mut text = summary(sources, &config);
    for (name, health) in &health {
        let verdict = health.as_ref().map_or_else(
            |error| format!("unusable: {}", error.reason),
            |()| "ok".into(),
        );
        // Writing to a string cannot fail.
        let _ = write!(text, "\nstore     {name} {verdict}");
    }
    let browser = app::find_browser(&config);
    let verdict = browser
        .as_ref()
        .map_or_else(|problem| problem.clone(), |found| found.clone());
    let _ = write!(text, "\nbrowser   {verdict}");
    match super::answer(&text) {
        // A browser that the config names is to be there; one that would be found on PATH need not be.
        ExitCode::SUCCESS if browser.is_err() && config.browser.executable.is_some() => {
            ExitCode::FAILURE
        }
        ExitCode::SUCCESS if health.iter().any(|(_, health)| health.is_err()) => ExitCode::FAILURE,
        exit => exit,
    }
}

fn summary(sources: &Sources, config: &Config) -> String {
    let subject = match &sources.file {
        Some(path) => format!("{} is valid", path.display()),
        None => "valid; no config file is named".into(),
    };
    let Config {
        proxy,
        admin,
        sessions,
        ..
    } = config;
    format!(
        "config    {subject}\n\
         proxy     {}{}\n\
         admin     {}{}\n\
         ca        {}\n\
         sessions  {} adapter, at most {}",
        listed(&proxy.listen),
        guarded(proxy.auth.is_required()),
        listed(&admin.listen),
        guarded(admin.token.is_some()),
        super::ca::certificate(config).display(),
        sessions.default_adapter.as_str(),
        sessions.max_active_sessions,
    )
}

fn listed(addresses: &[SocketAddr]) -> String {
    if addresses.is_empty() {
        return "off".into();
    }
    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    addresses.join(", ")
}

fn guarded(by_token: bool) -> &'static str {
    if by_token { " (with a token)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_is_served_and_shows_no_token() {
        let sources = Sources {
            file: Some("b.toml".into()),
            environment: vec![
                ("BURDOCK_PROXY__AUTH__TOKENS".into(), "secret".into()),
                ("BURDOCK_ADMIN__LISTEN".into(), "".into()),
            ],
            flags: Vec::new(),
        };
        let without_file = Sources {
            file: None,
            ..sources.clone()
        };
        let config = crate::config::load(&without_file).expect("valid");
        assert_eq!(
            summary(&sources, &config),
            "config    b.toml is valid\n\
             proxy     127.0.0.1:8080, [::1]:8080 (with a token)\n\
             admin     off\n\
             ca        certs/burdock-ca.pem\n\
             sessions  memory adapter, at most 100"
        );
    }
}
