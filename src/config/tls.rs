//! `[tls]`: whom burdock intercepts, and whom it trusts upstream.

use std::path::PathBuf;

use crate::message::Host;

use super::section::section;
use super::value::HostGlob;

section! {
    /// Whom burdock intercepts, and whom it trusts upstream.
    pub struct Tls {
        /// Hosts tunnelled untouched, such as "*.bank.example".
        passthrough: Vec<HostGlob> = [];
        /// PEM files with further roots for verifying origins, beside the platform's.
        upstream_ca_files: Vec<PathBuf> = [];
        /// Hosts whose certificate is not verified.
        insecure_hosts: Vec<HostGlob> = [];
    }
}

impl Tls {
    /// Whether a tunnel to `host` is relayed untouched.
    pub fn is_passed_through(&self, host: &Host) -> bool {
        self.passthrough.iter().any(|glob| glob.matches(host))
    }

    /// Whether the certificate of `host` goes unverified.
    pub fn is_insecure(&self, host: &Host) -> bool {
        self.insecure_hosts.iter().any(|glob| glob.matches(host))
    }
}
