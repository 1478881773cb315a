//! A session as a value: its id, settings, cookies, storage and limits, and how changes to them merge.
//!
//! Everything here is pure: no socket, no task and no clock. Time comes in as a [`Timestamp`].

pub mod delta;
pub mod formats;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod id;
pub mod jar;
pub mod limiter;
pub mod origin;
pub mod record;
pub mod settings;
pub mod storage;
pub mod time;

pub use self::delta::{CookieChange, CookieDelta, Delta, Touch};
pub use self::id::{InvalidSessionId, SessionId};
pub use self::jar::{Cookie, CookieFilter, CookieKey, CookieUrl, Jar};
pub use self::origin::{InvalidOrigin, Origin};
pub use self::record::{Counters, Generation, Record};
pub use self::settings::{Bounds, InvalidField, OnLimit, ProxyUrl, Render, Settings};
pub use self::storage::{Storage, StorageDelta};
pub use self::time::Timestamp;
