//! The one thread that changes the file: what waits for it at one moment shares a transaction and a sync.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rusqlite::TransactionBehavior;

use super::failure::Failure;
use super::open::Opened;
use super::queue::Queue;
use super::readers::Readers;
use super::task::{Answer, Change, Missing, Outcome, Task, Urgency, Work};
use crate::adapters::DEADLINE;

/// The thread, which ends when this is dropped, and is waited for as long as a disk may take.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
    /// Closes when the thread ends.
    ended: Receiver<()>,
    busy: Arc<Busy>,
}

impl Writer {
    pub(super) fn start(path: Arc<Path>, readers: Arc<Readers>) -> Result<Self, Failure> {
        outlive_limits();
        let queue = Arc::new(Queue::default());
        let (end, ended) = sync_channel(0);
        let busy = Arc::new(Busy::default());
        let shelf = Shelf {
            path,
            readers,
            opened: None,
            failing: false,
        };
        let thread = thread::Builder::new()
            .name("burdock-file".to_owned())
            .spawn({
                let (queue, busy) = (Abandon(Arc::clone(&queue)), Arc::clone(&busy));
                move || {
                    let _end: SyncSender<()> = end;
                    shelf.run(&queue.0, &busy);
                }
            })
            .map_err(Failure::NoThread)?;
        Ok(Self {
            queue,
            thread: Some(thread),
            ended,
            busy,
        })
    }

    /// Puts work in the queue. It may be done more than once, and only the last time counts.
    pub(super) fn send<T: Send + 'static>(
        &self,
        urgency: Urgency,
        missing: Missing,
        work: impl FnMut(&mut Change<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Answer<T>, Failure> {
        if self.busy.is_stuck() {
            return Err(Failure::Slow);
        }
        let (task, answer) = Work::new(urgency, missing, work);
        self.queue.put(Box::new(task))?;
        Ok(answer)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        let Some(thread) = self.thread.take() else {
            return;
        };
        // A disk that does not answer must not keep the process from ending.
        if self.ended.recv_timeout(2 * DEADLINE) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(
                "the disk of the sessions' file does not answer: the last changes may not be on it"
            );
        } else if thread.join().is_err() {
            tracing::error!("the thread that wrote the sessions' file ended abnormally");
        }
    }
}

/// The line of a thread that ends, by a panic too: nobody is to wait in it.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// A limit of a file's size is to be the error of a write: by default it ends the process.
#[cfg(unix)]
fn outlive_limits() {
    use tokio::signal::unix::{SignalKind, signal};
    // Once somebody has asked for it, the signal does no more than that.
    if let Err(error) = signal(SignalKind::from_raw(SIGXFSZ)) {
        tracing::warn!(%error, "a limit of a file's size would end the process");
    }
}

#[cfg(not(unix))]
fn outlive_limits() {}

/// Since when the thread has been at one transaction.
#[derive(Debug)]
struct Busy {
    epoch: Instant,
    /// Microseconds since then, or 0.
    since: AtomicU64,
}

impl Default for Busy {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            since: AtomicU64::new(0),
        }
    }
}

impl Busy {
    fn begin(&self) {
        self.since.store(self.now(), Ordering::Relaxed);
    }

    fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    fn is_stuck(&self) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        since != 0 && u128::from(self.now().saturating_sub(since)) > DEADLINE.as_micros()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros())
            .unwrap_or(u64::MAX)
            .max(1)
    }
}

/// The file as the thread has it.
struct Shelf {
    path: Arc<Path>,
    readers: Arc<Readers>,
    opened: Option<Opened>,
    failing: bool,
}

impl Shelf {
    fn run(mut self, queue: &Queue, busy: &Busy) {
        let mut before = 0;
        while let Some(mut batch) = queue.take(before) {
            busy.begin();
            // Who has been told that it took too long must not have it done after all, later than what followed.
            batch.retain(|task| !task.is_given_up());
            before = batch.len();
            self.serve(&mut batch);
            busy.end();
        }
        if let Some(opened) = self.close() {
            opened.flush();
        }
    }

    fn serve(&mut self, batch: &mut Vec<Box<dyn Task>>) {
        match self.open(batch) {
            Err(failure) => fail(batch, failure),
            Ok(false) => {
                for task in batch.drain(..) {
                    task.answer(Outcome::NoFile);
                }
            }
            Ok(true) => self.change(batch),
        }
    }

    /// Whether there is a file to work in; if need be, and somebody wants that, it is made.
    fn open(&mut self, batch: &[Box<dyn Task>]) -> Result<bool, Failure> {
        if let Some(opened) = &self.opened {
            if opened.is_in_place() {
                return Ok(true);
            }
            self.close();
            return Err(Failure::Moved);
        }
        let missing = if batch.iter().any(|task| task.makes_file()) {
            Missing::Make
        } else {
            Missing::Leave
        };
        self.opened = Opened::open(&self.path, missing)?;
        if self.opened.is_some() {
            self.readers.open();
        }
        Ok(self.opened.is_some())
    }

    /// All in one transaction; where that fails each in its own, so that nobody pays for another's record.
    fn change(&mut self, batch: &mut Vec<Box<dyn Task>>) {
        match self.transact(batch) {
            Ok(()) => {
                for task in batch.drain(..) {
                    task.answer(Outcome::Done);
                }
            }
            Err(failure) if batch.len() == 1 || !failure.is_of_one() => fail(batch, failure),
            Err(_) => {
                let begun = Instant::now();
                for task in batch.drain(..) {
                    if begun.elapsed() < DEADLINE / 2 {
                        self.serve(&mut vec![task]);
                    } else {
                        task.answer(Outcome::Failed(Arc::new(Failure::Slow)));
                    }
                }
            }
        }
    }

    fn transact(&mut self, batch: &mut [Box<dyn Task>]) -> Result<(), Failure> {
        let opened = self.opened.as_mut().ok_or(Failure::Missing)?;
        let held = opened.held;
        let result = transact(opened, &mut self.failing, batch);
        if let Err(failure) = &result {
            opened.held = held;
            // A record that does not read says nothing of the file.
            self.failing |= !matches!(failure, Failure::Unreadable(_));
            if failure.is_lasting() {
                self.close();
            }
        }
        result
    }

    fn close(&mut self) -> Option<Opened> {
        self.readers.close();
        self.opened.take()
    }
}

fn fail(batch: &mut Vec<Box<dyn Task>>, failure: Failure) {
    let failure = Arc::new(failure);
    for task in batch.drain(..) {
        task.answer(Outcome::Failed(Arc::clone(&failure)));
    }
}

fn transact(
    opened: &mut Opened,
    failing: &mut bool,
    batch: &mut [Box<dyn Task>],
) -> Result<(), Failure> {
    let urgent = batch.iter().any(|task| task.is_urgent());
    opened.set_urgency(if urgent { Urgency::Now } else { Urgency::Soon })?;
    let before = opened.sql.total_changes();
    let transaction = opened
        .sql
        .transaction_with_behavior(TransactionBehavior::Immediate)?;
    for task in batch {
        task.run(&mut Change {
            sql: &transaction,
            held: &mut opened.held,
            failing,
        })?;
    }
    transaction.commit()?;
    *failing &= opened.sql.total_changes() == before;
    Ok(())
}

/// Its number on Linux, macOS and the BSDs.
#[cfg(unix)]
const SIGXFSZ: i32 = 25;
