//! `burdock check`: whether the configuration is valid.

use std::net::SocketAddr;
use std::process::ExitCode;

use crate::config::{Config, Sources};

/// Prints what the configuration comes to, or every mistake in it.
pub(super) fn run(sources: &Sources) -> ExitCode {
    match super::load(sources) {
        Ok(config) => super::answer(&summary(sources, &config)),
        Err(exit) => exit,
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
