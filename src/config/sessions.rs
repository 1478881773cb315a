//! `[sessions]`: how sessions come to be, live and end.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::check::{positive, whole_seconds};
use super::rate_limit::RateLimit;
use super::section::section;
use super::value::choice;

section! {
    /// How sessions come to be, live and end.
    pub struct Sessions {
        /// Where sessions that name no adapter are stored.
        default_adapter: Adapter = "memory";
        /// Life of a session after its last use, where it names none; whole seconds.
        default_ttl: Duration = "30m", whole_seconds;
        /// The longest ttl a session may ask for; whole seconds.
        max_ttl: Duration = "30d", whole_seconds;
        /// How often expired sessions are swept; they are gone from sight before.
        cleanup_interval: Duration = "5m", positive;
        /// Unexpired sessions at once, over all adapters; one more is answered 503.
        max_active_sessions: NonZeroUsize = 100;
        /// What a request gets that names a session which does not exist.
        on_unknown: OnUnknown = "create";
        /// What a request gets that names no session; anonymous: it goes without one.
        on_missing: OnMissing = "anonymous";
        /// Whether a session's browser.userAgent replaces User-Agent.
        apply_user_agent: bool = true;
        /// One key a line, each 32 random bytes in base64; the first encrypts what is stored, all decrypt.
        encryption_key_file: Option<PathBuf> = "";
    }
    nested {
        /// Limits of sessions that name none of their own.
        rate_limit: RateLimit,
    }
}

choice! {
    /// A store of sessions.
    pub enum Adapter {
        /// In this process; gone when it ends.
        Memory = "memory",
        /// In a file; see `[adapters.file]`.
        File = "file",
        /// In Redis; see `[adapters.redis]`.
        Redis = "redis",
        /// In MongoDB; see `[adapters.mongodb]`.
        Mongodb = "mongodb",
    }
}

choice! {
    /// What becomes of a request that names a session which does not exist.
    pub enum OnUnknown {
        /// The session is made.
        Create = "create",
        /// 404 `unknown-session`.
        Reject = "reject",
    }
}

choice! {
    /// What becomes of a request that names no session.
    pub enum OnMissing {
        /// It is forwarded without one.
        Anonymous = "anonymous",
        /// 400 `session-required`.
        Reject = "reject",
    }
}
