//! The configuration: one struct a section, checked once by [`load()`] and never again.
//!
//! An option is declared in one place, a line of its section's file: type, default, help and, where
//! the type alone does not say it, what else holds for its values. The struct, the decoding, the name
//! of its environment variable and its entry in `config/default.toml` all come from that line. A new
//! section is a new file and a line in [`Config`].
//!
//! A key of the contract (INTERFACE.md, section 2) that this version does not have yet is refused by
//! that name, not as an unknown one: `config/later.rs` lists them.

mod across;
mod adapters;
mod admin;
mod auth;
mod browser;
mod ca;
mod check;
mod egress;
mod environment;
mod file;
mod given;
mod later;
mod load;
mod mistake;
mod observability;
mod proxy;
mod rate_limit;
mod raw;
mod reference;
mod resolve;
mod routes;
mod rules;
mod schema;
mod section;
mod sessions;
mod tls;
mod upstream;
mod value;

pub use self::adapters::{Adapters, FileAdapter, MongodbAdapter, RedisAdapter};
pub use self::admin::Admin;
pub use self::auth::Auth;
pub use self::browser::{Blocked, Browser, Sandbox, WaitUntil};
pub use self::ca::Ca;
pub use self::egress::{EgressRule, EgressRules, EgressVia};
pub use self::load::{Flag, Sources, load};
pub use self::mistake::{Mistake, Mistakes, Place};
pub use self::observability::Observability;
pub use self::proxy::Proxy;
pub use self::rate_limit::RateLimit;
pub use self::routes::{RouteRule, Routes, Via};
pub use self::sessions::{Adapter, OnMissing, OnUnknown, Sessions};
pub use self::tls::Tls;
pub use self::upstream::{EgressFailure, Upstream};
pub use self::value::{
    ByteSize, ConnectTo, DatabaseName, Endpoint, HostGlob, KeyPrefix, StoreUrl, Token, UrlPattern,
};

use self::section::section;

section! {
    /// Everything that can be configured. `Config::default()` is what an empty file gives.
    pub struct Config {
        /// Which pages are rendered; `[[routes]]` in a file. A request's own header and its session go before.
        routes: Routes = [];
    }
    nested {
        /// The proxy's listeners.
        proxy: Proxy,
        /// The admin API's listeners.
        admin: Admin,
        /// The certificate authority.
        ca: Ca,
        /// Interception and trust.
        tls: Tls,
        /// The way to origins.
        upstream: Upstream,
        /// Sessions.
        sessions: Sessions,
        /// Their stores.
        adapters: Adapters,
        /// Browsers for pages that need JavaScript.
        browser: Browser,
        /// Logs.
        observability: Observability,
    }
}
