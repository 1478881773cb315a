//! `[admin]`: the listeners of the admin API and who may call it.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::message::Host;

use super::check::{exposed, without_repeats};
use super::section::section;
use super::value::Token;

section! {
    /// The admin API, the dashboard and the CA certificate.
    pub struct Admin {
        /// Addresses the admin API listens on; none: it is off.
        listen: Vec<SocketAddr> = ["127.0.0.1:3001", "[::1]:3001"], listeners;
        /// Bearer token; required as soon as an admin listener is not on loopback.
        token: Option<Token> = "";
        /// A file with that token instead.
        token_file: Option<PathBuf> = "";
        /// Names accepted in Host beyond localhost and the bound addresses.
        allowed_hosts: Vec<Host> = [];
    }
}

impl Admin {
    /// Whether a listener can be reached from other machines.
    pub fn is_exposed(&self) -> bool {
        exposed(&self.listen).is_some()
    }
}

fn listeners(addresses: &[SocketAddr]) -> Result<(), String> {
    without_repeats(addresses)
}
