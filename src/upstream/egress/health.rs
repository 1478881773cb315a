//! How an upstream proxy is: by what became of connections through it, and by probes while it is down.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock;
use crate::session::time::Timestamp;

/// How a proxy is. The lock is held for a few assignments, and by new connections only.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Connections through it that failed on its side since one that did not.
    failures: u32,
    /// It could not be reached when that was last tried.
    down: bool,
    /// A probe is under way.
    probed: bool,
    last_error: Option<String>,
    last_used: Option<Timestamp>,
}

/// How a proxy is, as the admin API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// It was reached when that was last tried.
    pub healthy: bool,
    /// Connections through it that failed on its side since one that did not.
    pub failures: u32,
    /// What was wrong when one last failed.
    pub last_error: Option<String>,
    /// When a connection was last made through it.
    pub last_used: Option<Timestamp>,
}

impl Health {
    /// A connection was made through it.
    pub(super) fn carried(&self) {
        let mut state = self.0.lock();
        state.failures = 0;
        state.down = false;
        state.last_used = Some(clock::now());
    }

    /// It was reached, and nothing more is known.
    pub(super) fn reached(&self) {
        self.0.lock().down = false;
    }

    /// It answered, and did not do what a proxy should.
    pub(super) fn failed(&self, error: String) {
        let mut state = self.0.lock();
        state.failures = state.failures.saturating_add(1);
        state.down = false;
        state.last_error = Some(error);
    }

    /// It could not be reached. True: the caller is to probe it.
    pub(super) fn vanished(&self, error: String) -> bool {
        let mut state = self.0.lock();
        state.failures = state.failures.saturating_add(1);
        state.down = true;
        state.last_error = Some(error);
        !std::mem::replace(&mut state.probed, true)
    }

    /// Whether a probe has something to find out; where not, it is over.
    pub(super) fn goes_on(&self) -> bool {
        let mut state = self.0.lock();
        state.probed = state.down;
        state.down
    }

    pub(super) fn report(&self) -> Report {
        let state = self.0.lock();
        Report {
            healthy: !state.down,
            failures: state.failures,
            last_error: state.last_error.clone(),
            last_used: state.last_used,
        }
    }
}

/// How long to wait before the probe that comes after `before` others; `jitter` is from 0 to 1, so that many burdocks do not come
/// all at once.
pub(super) fn pause(before: u32, jitter: f64) -> Duration {
    let doubled = SHORTEST.saturating_mul(1 << before.min(6));
    doubled
        .mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
        .clamp(SHORTEST, LONGEST)
}

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_down_from_when_it_is_not_reached_to_when_it_is() {
        let health = Health::default();
        assert!(health.report().healthy);
        assert!(
            health.vanished("refused".into()),
            "the first asks for a probe"
        );
        assert!(!health.vanished("refused".into()), "one is enough");
        let report = health.report();
        assert!(!report.healthy);
        assert_eq!(
            (report.failures, report.last_error.as_deref()),
            (2, Some("refused"))
        );
        assert!(health.goes_on());
        health.reached();
        assert!(health.report().healthy);
        assert_eq!(health.report().failures, 2, "nothing was carried yet");
        assert!(!health.goes_on());
        health.failed("407".into());
        assert!(health.report().healthy, "it is there, if unwilling");
        health.carried();
        let report = health.report();
        assert_eq!(report.failures, 0);
        assert!(report.last_used.is_some());
        assert!(health.vanished("gone".into()), "and again");
    }

    #[test]
    fn probes_back_off_from_a_second_to_a_minute() {
        for jitter in [0.0, 0.3, 0.999] {
            assert!((1.0..1.3).contains(&pause(0, jitter).as_secs_f64()));
            assert!((6.4..9.6).contains(&pause(3, jitter).as_secs_f64()));
            for before in [7, 100, u32::MAX] {
                assert!(pause(before, jitter) > Duration::from_secs(50));
                assert!(pause(before, jitter) <= LONGEST);
            }
        }
    }
}
