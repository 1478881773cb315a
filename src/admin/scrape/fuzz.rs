//! What fuzzers feed this part: the call's JSON.

use std::time::Duration;

use http::header::HeaderName;

use super::call::Call;
use crate::admin::json::{self, Object};

/// A call that is accepted can be made: it goes to an http URL, within a time, with fields of its own only.
pub(crate) fn scrape_call(data: &[u8]) {
    let Ok(object) = json::parse(data).and_then(Object::of) else {
        return;
    };
    let Ok(call) = Call::read(object) else { return };
    let hop = &call.hop;
    assert!(matches!(hop.url.scheme(), "http" | "https"));
    assert!(hop.url.username().is_empty() && hop.url.password().is_none());
    assert_eq!(hop.uri.scheme_str(), Some(hop.url.scheme()));
    assert_eq!(hop.uri.host(), hop.url.host_str());
    assert!(call.timeout <= Duration::from_mins(10) && !call.timeout.is_zero());
    let reserved = ["host", "connection", "content-length", "transfer-encoding"]
        .map(HeaderName::from_static)
        .into_iter()
        .any(|name| hop.headers.contains_key(name));
    assert!(!reserved, "it frames or addresses the request itself");
}
