//! `[sessions.rate_limit]`: the limits of sessions that name none of their own.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::session::settings::OnLimit;

use super::section::section;
use super::value::{Text, not_among};

section! {
    /// Limits of sessions that name none of their own.
    pub struct RateLimit {
        /// Requests a second, which may be a fraction; 0: unlimited.
        requests_per_second: Option<f64> = 0;
        /// Requests that may come at once after a pause.
        burst: NonZeroU32 = 1;
        /// Requests of one session in flight at once; 0: unlimited.
        concurrency: Option<NonZeroU32> = 0;
        /// Whether the rate holds for each host of the session by itself.
        per_host: bool = false;
        /// What a request over the limit gets: its turn, or 429.
        on_limit: OnLimit = "wait";
        /// The longest a request may wait for its turn; then 429.
        max_wait: Duration = "30s";
        /// Whether a 429 or 503 with Retry-After pauses the session for that host.
        honor_retry_after: bool = true;
    }
}

impl Text for OnLimit {
    fn kind() -> String {
        "wait | reject".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "wait" => Ok(Self::Wait),
            "reject" => Ok(Self::Reject),
            _ => Err(not_among(text, &["wait", "reject"])),
        }
    }
}
