//! Why there is no rendered page.

use std::time::Duration;

use crate::adapters::StoreError;
use crate::fault::{Fault, Kind};

/// Why there is no rendered page.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// `browser.enabled = false`.
    #[error("the browser route is off (`browser.enabled = false`)")]
    Disabled,
    /// No program was found.
    #[error(
        "no browser was found: install `chromium-headless-shell` or `chromium` (Debian: apt-get install chromium-headless-shell), or name one in `browser.executable`"
    )]
    Missing,
    /// It did not start, or the endpoint did not answer.
    #[error("the browser cannot be used: {0}")]
    Start(String),
    /// It, or the page's renderer, ended twice while the page was rendered.
    #[error("the browser crashed while it rendered the page: {0}")]
    Crashed(String),
    /// All places were taken until the deadline.
    #[error("all {pages} pages (`browser.max_pages`) were busy for as long as a page may take")]
    Busy {
        /// How many there are.
        pages: usize,
    },
    /// The page gave no answer, not even an incomplete one.
    #[error("the page did not answer within `browser.navigation_timeout`: {0}")]
    Timeout(String),
    /// The document could not be opened, as where a script leads to nowhere.
    #[error("the page could not be opened: {0}")]
    Navigation(String),
    /// What is waited for cannot be looked for.
    #[error("`{0}` is not a CSS selector")]
    Selector(String),
    /// The rendered page is larger than may be.
    #[error("the rendered page is larger than {0} MiB")]
    TooLarge(usize),
    /// What the page changed could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<BrowserError> for Fault {
    fn from(error: BrowserError) -> Self {
        let detail = error.to_string();
        match error {
            BrowserError::Store(error) => error.into(),
            // Waiting does not help.
            BrowserError::Disabled | BrowserError::Missing => {
                Self::new(Kind::BrowserUnavailable, detail)
            }
            BrowserError::Start(_) | BrowserError::Crashed(_) | BrowserError::Busy { .. } => {
                Self::new(Kind::BrowserUnavailable, detail).retry_after(Duration::from_secs(1))
            }
            BrowserError::Selector(_) => Self::new(Kind::BadRequest, detail),
            BrowserError::Timeout(_) => Self::new(Kind::BrowserTimeout, detail),
            BrowserError::Navigation(_) | BrowserError::TooLarge(_) => {
                Self::new(Kind::UpstreamProtocol, detail)
            }
        }
    }
}
