//! Which origins were connected to a moment ago.
//!
//! A CONNECT promises a live target. Where tunnels to one target follow each other closely, and their sessions are named
//! inside only, a connection for each would be made to be thrown away: the session has its own. What was reached a
//! tenth of a second ago is taken to be alive; should it be gone by then, the request inside is told so.

use std::fmt;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use crate::message::Authority;

/// Authorities and when they were last connected to.
///
/// Capacity: 4,096; beyond it others are forgotten, which costs a connection.
pub struct Reached(Cache<Authority, Instant>);

const CAPACITY: usize = 4096;

/// How long a target counts as alive after somebody connected to it.
const LATELY: Duration = Duration::from_millis(100);

impl Default for Reached {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl Reached {
    pub(super) fn note(&self, authority: &Authority) {
        self.0.insert(authority.clone(), Instant::now());
    }

    pub(super) fn forget(&self, authority: &Authority) {
        self.0.remove(authority);
    }

    pub(super) fn lately(&self, authority: &Authority) -> bool {
        self.0
            .get(authority)
            .is_some_and(|at| at.elapsed() < LATELY)
    }
}

impl fmt::Debug for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reached")
            .field("authorities", &self.0.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_counts_as_alive_until_a_connection_fails() {
        let reached = Reached::default();
        let shop = Authority::parse("shop.example:443", None).expect("valid");
        assert!(!reached.lately(&shop));
        reached.note(&shop);
        assert!(reached.lately(&shop));
        reached.forget(&shop);
        assert!(!reached.lately(&shop));
    }
}
