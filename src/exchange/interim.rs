//! Interim responses (1xx) on their way to a client; hyper's server cannot send them, so the door writes them itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, Request, StatusCode, Version};
use parking_lot::Mutex;

use crate::message::fields::{response_fields, value};
use crate::upstream::RequestBody;

/// Interim responses waiting to be written on an HTTP/1.1 connection, before the response they belong to.
///
/// The origin's HTTP/1.1 connection is driven by the task of the client's, so what is put in here in a turn of that task is
/// found by the flush with which the turn ends: nobody needs to be woken.
///
/// Capacity: 16; further ones are dropped, as a client that reads so slowly has no use for hints.
#[derive(Debug, Default)]
pub struct Interim {
    /// Beside the lock, since it is looked at with every write.
    any: AtomicBool,
    heads: Mutex<VecDeque<Bytes>>,
}

/// Interim responses that may wait on one connection.
const MAX_WAITING: usize = 16;

impl Interim {
    /// The next head to write.
    pub fn next(&self) -> Option<Bytes> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut heads = self.heads.lock();
        let next = heads.pop_front();
        self.any.store(!heads.is_empty(), Ordering::Relaxed);
        next
    }

    /// Drops what has not been written: the response itself has begun.
    pub fn clear(&self) {
        while self.next().is_some() {}
    }

    fn push(&self, status: StatusCode, fields: &HeaderMap) {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default()
        )
        .into_bytes();
        for (name, value) in &response_fields(fields.clone(), false) {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let mut heads = self.heads.lock();
        if heads.len() < MAX_WAITING {
            heads.push_back(head.into());
            self.any.store(true, Ordering::Relaxed);
        }
    }
}

/// Has what the origin says before its response reach the client, and asks the origin about `Expect: 100-continue`
/// rather than answering for it (RFC 9110, section 10.1.1): the client's body is not asked for before the origin's 100.
pub(super) fn relay(request: &mut Request<RequestBody>, interim: Option<&Arc<Interim>>) {
    let Some(interim) = interim.filter(|_| request.version() == Version::HTTP_11) else {
        return;
    };
    let expects = value(request.headers(), &EXPECT)
        .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let hold = expects.then(|| request.body_mut().hold()).flatten();
    let interim = Arc::clone(interim);
    hyper::ext::on_informational(request, move |response| match response.status() {
        // hyper writes the client's 100 when the body is asked for.
        StatusCode::CONTINUE => {
            if let Some(hold) = &hold {
                hold.release();
            }
        }
        status => interim.push(status, response.headers()),
    });
}
