//! Whether what an HTTP/2 stream has given to its connection was written.
//!
//! A stream that is reset loses what is still queued for it, its head included. So a response that breaks off waits until what
//! came of it before has gone out; the reset comes after that.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Shared by a connection, its bytes and its streams.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Times that the connection was driven, and the last of them that is among the flushes.
    drives: AtomicU64,
    counted: AtomicU64,
    /// Drives in which everything queued had been written.
    flushes: AtomicU64,
    ended: AtomicBool,
    /// Beside the lock, since it is looked at with every flush.
    awaited: AtomicBool,
    wakers: Mutex<Wakers>,
}

#[derive(Debug, Default)]
struct Wakers {
    /// Has the connection look at what is queued.
    connection: Option<Waker>,
    streams: Vec<Waker>,
}

impl Written {
    /// The connection is driven by the task of `cx`.
    pub(super) fn driven(&self, cx: &Context<'_>) {
        self.drives.fetch_add(1, Ordering::AcqRel);
        let mut wakers = self.wakers.lock();
        match &mut wakers.connection {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// All that hyper had queued has been written.
    pub(super) fn flushed(&self) {
        let drive = self.drives.load(Ordering::Acquire);
        // The second flush of one drive says nothing of what was queued since its first.
        if self.counted.swap(drive, Ordering::AcqRel) != drive {
            self.flushes.fetch_add(1, Ordering::AcqRel);
        }
        if self.awaited.load(Ordering::Acquire) {
            self.wake();
        }
    }

    /// The connection is over; nothing will be written any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        let streams = {
            let mut wakers = self.wakers.lock();
            self.awaited.store(false, Ordering::Release);
            std::mem::take(&mut wakers.streams)
        };
        streams.into_iter().for_each(Waker::wake);
    }

    /// From when on [`Self::poll`] counts.
    pub(super) fn mark(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    /// Waits until what was queued before the `mark` has been written, or never will be.
    ///
    /// One drive may have been under way already, so it takes two.
    pub(super) fn poll(&self, mark: u64, cx: &mut Context<'_>) -> Poll<()> {
        let is_over = || self.ended.load(Ordering::Acquire) || self.mark().wrapping_sub(mark) >= 2;
        if is_over() {
            return Poll::Ready(());
        }
        let connection = {
            let mut wakers = self.wakers.lock();
            wakers.streams.push(cx.waker().clone());
            self.awaited.store(true, Ordering::Release);
            wakers.connection.clone()
        };
        // It may have been written while this one registered.
        if is_over() {
            return Poll::Ready(());
        }
        if let Some(connection) = connection {
            connection.wake();
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_stream_waits_for_two_flushes_and_has_the_connection_make_them() {
        let written = Written::default();
        let (connection, stream) = (Arc::<Count>::default(), Arc::<Count>::default());
        let driver = Waker::from(Arc::clone(&connection));
        written.driven(&Context::from_waker(&driver));
        let waker = Waker::from(Arc::clone(&stream));
        let mut cx = Context::from_waker(&waker);
        let mark = written.mark();
        for flushes in 0..2 {
            assert!(written.poll(mark, &mut cx).is_pending());
            assert_eq!(connection.0.load(Ordering::Relaxed), flushes + 1);
            written.driven(&Context::from_waker(&driver));
            written.flushed();
            written.flushed();
            assert!(stream.0.load(Ordering::Relaxed) > flushes);
        }
        assert!(written.poll(mark, &mut cx).is_ready());
        assert!(written.poll(written.mark(), &mut cx).is_pending());
        written.end();
        assert!(written.poll(written.mark(), &mut cx).is_ready());
    }
}
