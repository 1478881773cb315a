//! What governs the pool and its pages.

use std::path::PathBuf;
use std::time::Duration;

/// The `[browser]` section, made ready.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether there is a browser route at all.
    pub enabled: bool,
    /// The program; none: found on PATH.
    pub executable: Option<PathBuf>,
    /// CDP endpoints (`ws://`) of remote browsers, instead of processes of our own.
    pub endpoints: Vec<String>,
    /// Browser processes at once, at least 1.
    pub max_browsers: usize,
    /// Live contexts at once, at least 1.
    pub max_contexts: usize,
    /// Pages rendering at once, at least 1.
    pub max_pages: usize,
    /// A context that nobody used for so long is closed.
    pub context_idle_timeout: Duration,
    /// The time for one page, its waiting for a place included.
    pub navigation_timeout: Duration,
    /// What a page is waited for unless the request says otherwise.
    pub wait_until: WaitUntil,
    /// Types of resources that pages do not load.
    pub blocked: Vec<Blocked>,
    /// Chromium's own sandbox.
    pub sandbox: Sandbox,
    /// Whether a small JPEG is taken at the end of each render.
    pub thumbnails: bool,
    /// Browsers to start before anybody asks.
    pub warm: usize,
    /// A browser is replaced after so many pages.
    pub recycle_pages: u64,
    /// And when it is so old.
    pub recycle_after: Duration,
    /// SHA-256 of the public key of burdock's CA in base64, as `--ignore-certificate-errors-spki-list` takes it.
    pub spki: String,
}

/// What a page is waited for, in the words of CDP's lifecycle events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitUntil {
    /// The document is parsed.
    DomContentLoaded,
    /// Its parts have come.
    Load,
    /// No request was in flight for 500 ms, not counting WebSockets, event streams, beacons and what is open for over 5 s.
    NetworkIdle,
}

/// What a request asks its page to be waited for (`X-Burdock-Wait`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A state of loading.
    Until(WaitUntil),
    /// An element that matches this CSS selector is there.
    Selector(String),
    /// So long after the document was parsed.
    For(Duration),
}

/// A type of resource that a page does not load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// `image`
    Image,
    /// `font`
    Font,
    /// `media`
    Media,
    /// `stylesheet`
    Stylesheet,
}

/// Whether Chromium sandboxes its renderers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// Unless burdock runs as root, whom Chromium refuses a sandbox.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}
