//! Time by the server's clock, and what it says of a session.

use mongodb::bson::{Bson, DateTime, Document, doc};

use crate::session::time::Timestamp;

/// The present by the server, as an expression: microseconds since the Unix epoch, of which the server knows milliseconds.
pub(super) fn now() -> Document {
    doc! { "$multiply": [{ "$toLong": "$$NOW" }, 1000_i64] }
}

/// Matches sessions that have not expired.
pub(super) fn live() -> Document {
    doc! { "$gt": ["$expires", now()] }
}

/// Matches sessions that have expired, and have not been swept.
pub(super) fn expired() -> Document {
    doc! { "$lte": ["$expires", now()] }
}

/// Microseconds since the Unix epoch.
pub(super) fn micros(at: Timestamp) -> Bson {
    Bson::Int64(at.as_micros())
}

/// When the server is to sweep a session that expires at `expires`: some minutes later, so that a touch that is late
/// finds its session there and is told by the true expiry whether it came too late.
pub(super) fn swept_at(expires: Timestamp) -> Bson {
    let millis = expires.as_micros().div_euclid(1000);
    Bson::DateTime(DateTime::from_millis(millis.saturating_add(GRACE_MILLIS)))
}

const GRACE_MILLIS: i64 = 5 * 60 * 1000;
