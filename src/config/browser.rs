//! `[browser]`: the pool of browsers that renders pages.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::check::positive;
use super::section::section;
use super::value::{Endpoint, choice};

section! {
    /// The browsers that render pages for the browser route.
    pub struct Browser {
        /// Whether pages can be rendered; if not, the browser route is 503.
        enabled: bool = true;
        /// The browser; empty: chromium-headless-shell, chromium or google-chrome, found on PATH.
        executable: Option<PathBuf> = "";
        /// CDP endpoints of remote browsers (ws://) instead of local ones; docs/INTERFACE.md says what they need.
        endpoints: Vec<Endpoint> = [];
        /// Browser processes at once.
        max_browsers: NonZeroUsize = 2;
        /// Live browser contexts in all, one a session; beyond, the one that was idle for longest is closed.
        max_contexts: NonZeroUsize = 200;
        /// Pages rendering at once; further ones wait.
        max_pages: NonZeroUsize = 8;
        /// A context that was not used for so long is closed; the session keeps its state.
        context_idle_timeout: Duration = "5m", positive;
        /// The time for a page, its wait for a place included; then it is taken as it is.
        navigation_timeout: Duration = "30s", positive;
        /// When a page counts as done, unless the request says otherwise.
        wait_until: WaitUntil = "networkidle";
        /// Types of resources that pages do not load.
        block: Vec<Blocked> = [];
        /// Chromium's own sandbox; auto: on, but not for root, whom Chromium refuses one.
        sandbox: Sandbox = "auto";
        /// Keep a small JPEG of each session's last rendered page.
        thumbnails: bool = false;
        /// Browsers to start before they are needed.
        warm: usize = 0;
        /// A browser is replaced after so many pages.
        recycle_pages: NonZeroUsize = 5000;
        /// A browser is replaced when it is so old.
        recycle_after: Duration = "6h", positive;
    }
}

choice! {
    /// When a page counts as done.
    pub enum WaitUntil {
        /// The document is parsed.
        DomContentLoaded = "domcontentloaded",
        /// Its parts have come.
        Load = "load",
        /// No request was in flight for 500 ms.
        NetworkIdle = "networkidle",
    }
}

choice! {
    /// A type of resource.
    pub enum Blocked {
        /// Pictures.
        Image = "image",
        /// Fonts.
        Font = "font",
        /// Audio and video.
        Media = "media",
        /// Style sheets.
        Stylesheet = "stylesheet",
    }
}

choice! {
    /// Whether renderers are sandboxed.
    pub enum Sandbox {
        /// Unless burdock runs as root.
        Auto = "auto",
        /// Always.
        On = "on",
        /// Never.
        Off = "off",
    }
}
