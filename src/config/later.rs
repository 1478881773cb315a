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
    "observability.capture",
    "observability.capture_limit",
];
