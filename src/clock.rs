//! The wall clock, the one place above the pure floor that reads it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::session::time::Timestamp;

/// The present, in microseconds since the Unix epoch.
pub fn now() -> Timestamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(elapsed) => {
            Timestamp::from_micros(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
        }
        // A clock set before 1970 is read as the epoch: sessions then live long rather than not at all.
        Err(_) => Timestamp::default(),
    }
}
