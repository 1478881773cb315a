//! What a session is allowed: its rate, its concurrency, and what happens to a request beyond them.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::session::settings::OnLimit;

/// The limits of one session, complete: the configuration's defaults with the session's own settings laid over them.
///
/// The default limits nothing and honours `Retry-After`, as a configuration file without `[sessions.rate_limit]` does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// How often requests may start; `None` is unlimited.
    pub rate: Option<Rate>,
    /// Whether the rate holds for each host of the session by itself rather than for all of them together.
    pub per_host: bool,
    /// How many requests of the session may be in flight at once, over all hosts; `None` is unlimited.
    pub concurrency: Option<NonZeroU32>,
    /// What a request meets that may not start now.
    pub on_limit: OnLimit,
    /// How long a request waits at most, counted from its arrival; of no effect with [`OnLimit::Reject`].
    pub max_wait: Duration,
    /// Whether an origin's `Retry-After` holds back later requests to it.
    pub honor_retry_after: bool,
}

impl Policy {
    /// The longest a request may wait: nothing at all where the policy is to reject.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self.on_limit {
            OnLimit::Wait => self.max_wait,
            OnLimit::Reject => Duration::ZERO,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            rate: None,
            per_host: false,
            concurrency: None,
            on_limit: OnLimit::Wait,
            max_wait: Duration::from_secs(30),
            honor_retry_after: true,
        }
    }
}

/// So many requests a second in the long run, and so many at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    per_second: f64,
    burst: NonZeroU32,
}

impl Rate {
    /// The slowest rate there is: one request in eleven and a half days.
    pub const MIN_PER_SECOND: f64 = 1e-6;
    /// The fastest rate there is, one request a microsecond: the resolution of our time.
    pub const MAX_PER_SECOND: f64 = 1e6;

    /// A rate of `per_second` requests, which may be a fraction, and a burst of `burst`.
    ///
    /// # Errors
    /// [`RateOutOfRange`] unless `per_second` lies between [`Self::MIN_PER_SECOND`] and [`Self::MAX_PER_SECOND`].
    /// Zero, which means unlimited in a configuration, is the absence of a rate and not one.
    pub fn new(per_second: f64, burst: NonZeroU32) -> Result<Self, RateOutOfRange> {
        // NaN is in no range.
        if (Self::MIN_PER_SECOND..=Self::MAX_PER_SECOND).contains(&per_second) {
            Ok(Self { per_second, burst })
        } else {
            Err(RateOutOfRange(per_second))
        }
    }

    /// Requests a second.
    #[must_use]
    pub const fn per_second(self) -> f64 {
        self.per_second
    }

    /// Requests that may start at once after a rest.
    #[must_use]
    pub const fn burst(self) -> NonZeroU32 {
        self.burst
    }
}

/// A rate that no limiter can keep.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a rate of {0} requests per second is not between 0.000001 and 1000000")]
pub struct RateOutOfRange(pub f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_lies_between_its_bounds() {
        for (per_second, valid) in [
            (1e-6, true),
            (0.1, true),
            (1e6, true),
            (0.0, false),
            (-1.0, false),
            (9e-7, false),
            (1_000_001.0, false),
            (f64::NAN, false),
            (f64::INFINITY, false),
        ] {
            assert_eq!(
                Rate::new(per_second, NonZeroU32::MIN).is_ok(),
                valid,
                "{per_second}"
            );
        }
    }

    #[test]
    fn whoever_rejects_has_no_patience() {
        let waiting = Policy {
            max_wait: Duration::from_secs(3),
            ..Policy::default()
        };
        let rejecting = Policy {
            on_limit: OnLimit::Reject,
            ..waiting
        };
        assert_eq!(waiting.patience(), Duration::from_secs(3));
        assert_eq!(rejecting.patience(), Duration::ZERO);
    }
}
