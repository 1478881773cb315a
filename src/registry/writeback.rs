//! Telling the store: at once and in order for what must be acknowledged, within a second for the rest.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::live::LiveSession;
use crate::adapters::{Applied, StoreError};

/// One session's writes: one at a time, so that the store sees them in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Held for a comparison, never across an await.
    progress: Mutex<Progress>,
    moved: Notify,
}

#[derive(Debug, Default)]
struct Progress {
    writing: bool,
    acknowledged: u64,
    /// The last write that failed: up to which number, and why.
    failed: Option<(u64, StoreError)>,
}

/// Waits until the store has acknowledged the session's changes up to `number`.
///
/// Changes that gather while a write is under way go out together with the next. A session that is gone acknowledges
/// everything: there is nothing to keep.
///
/// # Errors
/// [`StoreError`] where the store did not take them; the copy here is then distrusted and loaded anew.
///
/// # Cancellation
/// A write that has begun is finished by a task of its own.
pub async fn commit(session: &Arc<LiveSession>, number: u64) -> Result<(), StoreError> {
    loop {
        let mut moved = std::pin::pin!(session.writer.moved.notified());
        // Before the look, so that a write that ends in between is not missed.
        moved.as_mut().enable();
        match session.writer.step(number) {
            Step::Acknowledged => return Ok(()),
            Step::Failed(error) => return Err(error),
            _ if session.is_gone() => return Ok(()),
            Step::Write => write(session).await,
            Step::Wait => moved.await,
        }
    }
}

/// What there is to do for a change to be acknowledged.
enum Step {
    Acknowledged,
    Failed(StoreError),
    /// It is up to the caller to write.
    Write,
    /// A write is under way.
    Wait,
}

impl Writer {
    fn step(&self, number: u64) -> Step {
        let mut progress = self.progress.lock();
        if number <= progress.acknowledged {
            return Step::Acknowledged;
        }
        match &progress.failed {
            Some((upto, error)) if number <= *upto => Step::Failed(error.clone()),
            _ if progress.writing => Step::Wait,
            _ => {
                progress.writing = true;
                Step::Write
            }
        }
    }
}

/// Keeps the session's writes from beginning, from when none is under way until it is dropped.
#[derive(Debug)]
pub(super) struct Pause<'a>(&'a Writer);

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.0.progress.lock().writing = false;
        self.0.moved.notify_waiters();
    }
}

impl Writer {
    /// Waits until no write is under way, and begins none.
    pub(super) async fn pause(&self) -> Pause<'_> {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if !std::mem::replace(&mut self.progress.lock().writing, true) {
                return Pause(self);
            }
            moved.await;
        }
    }
}

/// Writes what has gathered; stores that answer at once, as memory does, are not given a task.
async fn write(session: &Arc<LiveSession>) {
    let mut writing: Pin<Box<dyn Future<Output = ()> + Send>> =
        Box::pin(write_pending(Arc::clone(session)));
    let done = poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx).is_ready())).await;
    if !done {
        let task = tokio::spawn(writing);
        if let Err(error) = task.await {
            tracing::error!(session = %session.id(), %error, "the write of a session's changes ended abnormally");
        }
    }
}

async fn write_pending(session: Arc<LiveSession>) {
    let (delta, upto) = session.take_pending();
    let counters = delta.counters;
    let durable = delta.is_durable();
    let touched = delta.touched;
    let result = session
        .adapter
        .apply(session.id(), session.generation(), delta)
        .await;
    let mut progress = session.writer.progress.lock();
    progress.writing = false;
    match result {
        Ok(Applied::Done { revision }) => {
            progress.acknowledged = upto;
            session.note_revision(revision);
            if let Some(touch) = touched {
                session.note_stored(touch.expires);
            }
        }
        Ok(Applied::Gone) => {
            progress.acknowledged = upto;
            session.end();
        }
        Err(error) => {
            tracing::warn!(session = %session.id(), %error, "the store did not take a change");
            progress.failed = Some((upto, error));
            session.recount(counters);
            if durable {
                session.distrust();
            }
            session.dirty().mark(&session);
        }
    }
    drop(progress);
    session.writer.moved.notify_waiters();
}

/// Whether a session waits for its turn to tell the store what may be told late.
#[derive(Debug)]
pub(super) struct Dirty {
    marked: AtomicBool,
    /// At most one entry a session is under way, so the live sessions bound it.
    queue: mpsc::UnboundedSender<Arc<LiveSession>>,
}

impl Dirty {
    pub(super) fn new(queue: mpsc::UnboundedSender<Arc<LiveSession>>) -> Self {
        Self {
            marked: AtomicBool::new(false),
            queue,
        }
    }

    pub(super) fn mark(&self, session: &Arc<LiveSession>) {
        // The load first: a store to a line that other cores read is what costs.
        if !self.marked.load(Ordering::Relaxed) && !self.marked.swap(true, Ordering::AcqRel) {
            // The queue closes with the registry, at the end of the process.
            let _ = self.queue.send(Arc::clone(session));
        }
    }

    pub(super) fn clear(&self) {
        self.marked.store(false, Ordering::Release);
    }
}

/// Tells the store what gathered of a session's touches and counters.
pub(super) async fn flush(session: &Arc<LiveSession>) -> Result<(), StoreError> {
    if session.is_gone() {
        return Ok(());
    }
    // Before the counters are read: what is counted from here on marks the session anew.
    session.dirty().clear();
    let number = session.append_soft(crate::clock::now());
    commit(session, number).await
}
