//! The command line and the config file, as far as they refuse, and what the start tells.

use crate::support::{Burdock, Origin};

/// Starts with this config, which must be refused with exit code 2.
async fn refused(config: &str) -> String {
    let (code, said) = Burdock::new().config(config).refused().await;
    assert_eq!(code, Some(2), "{config}: {said}");
    said
}

#[tokio::test]
async fn an_unknown_key_is_refused_by_file_line_and_key() {
    for (config, key) in [
        ("[proxy]\nlisen = []", "lisen"),
        ("[sessions.rate_limit]\nrps = 1", "rps"),
        ("[nonsense]\nx = 1", "nonsense"),
    ] {
        let said = refused(config).await;
        let line = said
            .lines()
            .find(|line| line.contains(key))
            .unwrap_or_else(|| panic!("{key} in {said}"));
        assert!(line.contains("burdock.toml:"), "file and line in {line:?}");
        assert_eq!(said.trim().lines().count(), 1, "one line: {said}");
    }
}

#[tokio::test]
async fn an_invalid_value_is_refused_by_its_key() {
    for (config, key) in [
        ("proxy.idle_timeout = 'soon'", "idle_timeout"),
        ("proxy.idle_timeout = 30", "idle_timeout"),
        ("proxy.max_header_bytes = '64 bananas'", "max_header_bytes"),
        ("proxy.listen = ['nowhere']", "listen"),
        ("sessions.on_missing = 'perhaps'", "on_missing"),
        ("upstream.connect_to = ['a:b']", "connect_to"),
        ("upstream.deny = ['10.0.0.0/99']", "deny"),
        (
            "tls.upstream_ca_files = ['/does/not/exist.pem']",
            "upstream_ca_files",
        ),
        (
            "sessions.rate_limit.requests_per_second = -1",
            "requests_per_second",
        ),
    ] {
        let said = refused(config).await;
        assert!(said.contains(key), "{key} in {said}");
    }
}

#[tokio::test]
async fn a_listener_for_everybody_needs_a_token() {
    for (flag, key) in [("--listen", "token"), ("--admin-listen", "token")] {
        let (code, said) = Burdock::new().flag(flag).flag("0.0.0.0:0").refused().await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(key), "{said}");
    }
}

#[tokio::test]
async fn flags_go_before_the_environment_and_the_environment_before_the_file() {
    let shop = Origin::tls("shop.example").start().await;
    let config = "sessions.max_active_sessions = 1\nsessions.default_ttl = '1m'";
    let builder = Burdock::new().connect_to(&shop).config(config);
    let burdock = builder
        .env("BURDOCK_SESSIONS__DEFAULT_TTL", "2m")
        .env("BURDOCK_PROXY__LISTEN", "[\"127.0.0.1:1\"]")
        .start()
        .await;
    burdock.visitor("a").get("https://shop.example/").await;
    assert_eq!(burdock.session("a").await["ttl"], 120, "the environment's");
    assert_eq!(
        burdock
            .visitor("b")
            .get("https://shop.example/")
            .await
            .status,
        503,
        "the file's"
    );
    assert_ne!(burdock.proxy.port(), 1, "the flag's");
}

#[tokio::test]
async fn a_typing_mistake_is_answered_like_a_good_command_line() {
    let (code, said) = Burdock::new().flag("--lisen").refused().await;
    assert_eq!(code, Some(2));
    assert!(
        said.contains("--lisen") && said.contains("--listen"),
        "{said}"
    );
    let (code, said) = Burdock::new().flag("--help").refused().await;
    assert_eq!(code, Some(0));
    assert!(said.contains("--config"), "{said}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let first = Burdock::new().start().await;
    let (code, said) = Burdock::new()
        .flag("--listen")
        .flag(&first.proxy.to_string())
        .refused()
        .await;
    assert!(code.is_some_and(|code| code != 0), "{said}");
    assert!(said.contains(&first.proxy.to_string()), "{said}");
}
