//! `[observability]`: what burdock tells about its work.

use super::section::section;

section! {
    /// What burdock tells about its work.
    pub struct Observability {
        /// One log line a request.
        access_log: bool = true;
    }
}
