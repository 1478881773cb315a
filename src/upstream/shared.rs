//! An HTTP/2 connection that all requests of one owner to one origin share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http2::SendRequest;
use parking_lot::Mutex;

use super::body::RequestBody;

/// An HTTP/2 connection as its pool has it. The connection ends when this and the senders of all requests are dropped, its
/// open streams running to their end.
#[derive(Debug)]
pub(super) struct H2 {
    sender: SendRequest<RequestBody>,
    /// Held by the [`Stay`] of each open stream besides; when the last of them ended.
    ended: Arc<Mutex<Instant>>,
}

impl H2 {
    pub(super) fn new(sender: SendRequest<RequestBody>) -> Self {
        Self {
            sender,
            ended: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// What one request needs of the connection.
    pub(super) fn open(&self) -> (SendRequest<RequestBody>, Stay) {
        (self.sender.clone(), Stay(Arc::clone(&self.ended)))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether no stream is open, and none has been for `limit`.
    pub(super) fn is_idle(&self, now: Instant, limit: Duration) -> bool {
        Arc::strong_count(&self.ended) == 1
            && now.saturating_duration_since(*self.ended.lock()) >= limit
    }
}

/// Held while a stream is open: its connection is not idle.
#[derive(Debug)]
pub(super) struct Stay(Arc<Mutex<Instant>>);

impl Drop for Stay {
    fn drop(&mut self) {
        *self.0.lock() = Instant::now();
    }
}
