//! Addresses of remote browsers.

use std::fmt;

use url::{Position, Url};

use super::Text;

/// A CDP endpoint such as `ws://127.0.0.1:9222/devtools/browser/ID`. Its path and query may hold a token, so neither is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// The whole URL; only for the client that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}",
            self.0.scheme(),
            &self.0[Position::BeforeHost..Position::AfterPort]
        )
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Text for Endpoint {
    fn kind() -> String {
        "ws:// URL".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        // The text may hold a token: it is not repeated.
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        match url.scheme() {
            "ws" if url.has_host() => Ok(Self(url)),
            "wss" => Err(
                "must be ws://: what speaks to the browser has no TLS; put a tunnel of your own before it".into(),
            ),
            _ => Err("must be a URL such as ws://127.0.0.1:9222/devtools/browser/ID".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_websocket_and_keeps_its_token_to_itself() {
        let endpoint =
            Endpoint::parse("ws://u:p@browser.example:3000/chromium?token=s3cret").unwrap();
        assert_eq!(endpoint.to_string(), "ws://browser.example:3000");
        assert!(endpoint.expose().ends_with("token=s3cret"));
        for text in [
            "",
            "ws://",
            "wss://a.example/",
            "http://a.example/",
            "a.example:9222",
        ] {
            let problem = Endpoint::parse(text).expect_err(text);
            assert!(!problem.contains("a.example"), "{problem}");
        }
    }
}
