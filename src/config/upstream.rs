//! `[upstream]`: how origins are reached, and which addresses may be.

use std::time::Duration;

use ipnet::IpNet;

use super::check::positive;
use super::section::section;
use super::value::ConnectTo;

section! {
    /// How origins are reached, and which addresses may be.
    pub struct Upstream {
        /// Time to connect to an origin, name lookup included.
        connect_timeout: Duration = "10s", positive;
        /// Time from a request's end to the head of its response.
        response_header_timeout: Duration = "60s", positive;
        /// How long an idle connection to an origin is kept.
        idle_timeout: Duration = "90s", positive;
        /// Idle connections kept for one host of one session; 0 keeps none.
        max_idle_per_host: usize = 32;
        /// As curl's --connect-to: whom to dial instead; the first that fits.
        connect_to: Vec<ConnectTo> = [];
        /// Networks never reached, beyond link-local ones and burdock itself.
        deny: Vec<IpNet> = [];
        /// Networks exempt from the default refusals, never from deny.
        allow: Vec<IpNet> = [];
    }
}
