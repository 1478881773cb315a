//! `[upstream]`: how origins are reached, and which addresses may be.

use std::time::Duration;

use ipnet::IpNet;

use super::check::positive;
use super::egress::{EgressRules, proxies};
use super::section::section;
use super::value::{ConnectTo, choice};
use crate::session::settings::ProxyUrl;

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
        /// Upstream proxies, of which each session keeps one: http, https, socks5, socks5h; `{session}` in a user name is the session's id.
        proxies: Vec<ProxyUrl> = [], proxies;
        /// Where a session's proxy cannot be reached: its requests fail, or it is bound to another.
        egress_failure: EgressFailure = "fail";
        /// Which origins are reached by the proxies and which directly; `[[upstream.rules]]` in a file.
        rules: EgressRules = [];
        /// As curl's --connect-to: whom to dial instead; the first that fits.
        connect_to: Vec<ConnectTo> = [];
        /// Networks never reached, beyond link-local ones and burdock itself.
        deny: Vec<IpNet> = [];
        /// Networks exempt from the default refusals, never from deny.
        allow: Vec<IpNet> = [];
    }
}

choice! {
    /// What becomes of requests whose session's upstream proxy cannot be reached.
    pub enum EgressFailure {
        /// 502 naming the proxy.
        Fail = "fail",
        /// The session is bound to another proxy of the pool.
        Rehome = "rehome",
    }
}
