//! The keys of the contract that this version does not have.
//!
//! A file that names one is refused, whatever the value: a setting that is silently without effect
//! would be worse than an error, and "not supported by this version" tells a file written for another
//! version from a slip of the pen. A key leaves this list in the change that brings it to life.

/// Dotted keys; the element of an array of tables is judged by the array's name alone.
pub(super) const KEYS: &[&str] = &[
    "proxy.transparent_listen",
    "proxy.host_verify",
    "clients",
    "upstream.proxies",
    "upstream.egress_failure",
    "browser.enabled",
    "browser.executable",
    "browser.endpoints",
    "browser.max_browsers",
    "browser.max_contexts",
    "browser.max_pages",
    "browser.context_idle_timeout",
    "browser.navigation_timeout",
    "browser.wait_until",
    "browser.block",
    "browser.sandbox",
    "browser.thumbnails",
    "routes",
    "observability.capture",
    "observability.capture_limit",
];
