//! The one thread that changes the file: what waits for it at one moment shares a transaction and a sync.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::failure::Failure;
use super::open::{Opened, Readers};
use crate::adapters::DEADLINE;

/// When a change has to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// When it is acknowledged.
    Now,
    /// With the next one that is.
    Soon,
}

/// What becomes of a file that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is made.
    Make,
    /// There is nothing to do.
    Leave,
}

/// A transaction under way.
pub(super) struct Change<'a> {
    pub(super) sql: &'a Connection,
    /// How many sessions the file holds, expired ones included.
    pub(super) held: &'a mut u64,
    /// Whether the change before this one failed.
    pub(super) was_failing: bool,
}

/// What comes back: none where there is no file.
pub(super) type Answer<T> = oneshot::Receiver<Result<Option<T>, Arc<Failure>>>;

/// The thread, which ends, and is waited for, when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    tasks: Option<SyncSender<Box<dyn Task>>>,
    thread: Option<JoinHandle<()>>,
    busy: Arc<Busy>,
}

impl Writer {
    pub(super) fn start(path: Arc<Path>, readers: Arc<Readers>) -> Result<Self, Failure> {
        outlive_limits();
        let (tasks, queue) = sync_channel(QUEUE);
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
                let busy = Arc::clone(&busy);
                move || shelf.run(&queue, &busy)
            })
            .map_err(Failure::NoThread)?;
        Ok(Self {
            tasks: Some(tasks),
            thread: Some(thread),
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
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Work {
            urgency,
            missing,
            work,
            done: None,
            reply,
        });
        let tasks = self.tasks.as_ref().ok_or(Failure::NoWriter)?;
        match tasks.try_send(task) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(Failure::Crowded),
            Err(TrySendError::Disconnected(_)) => Err(Failure::NoWriter),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.tasks = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        if thread.join().is_err() {
            tracing::error!("the thread that wrote the sessions' file ended abnormally");
        }
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
    fn run(mut self, queue: &Receiver<Box<dyn Task>>, busy: &Busy) {
        while let Ok(first) = queue.recv() {
            busy.begin();
            let waiting = std::iter::once(first).chain(queue.try_iter()).take(BATCH);
            // Who has been told that it took too long must not have it done after all, later than what followed.
            let mut batch: Vec<_> = waiting.filter(|task| !task.is_given_up()).collect();
            self.serve(&mut batch);
            busy.end();
        }
        if let Some(opened) = self.close() {
            opened.flush();
        }
    }

    fn serve(&mut self, batch: &mut Vec<Box<dyn Task>>) {
        match self.open(batch) {
            Err(failure) => {
                let failure = Arc::new(failure);
                for task in batch.drain(..) {
                    task.answer(Outcome::Failed(Arc::clone(&failure)));
                }
            }
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
            Err(failure) if batch.len() == 1 => {
                let failure = Arc::new(failure);
                for task in batch.drain(..) {
                    task.answer(Outcome::Failed(Arc::clone(&failure)));
                }
            }
            Err(_) => {
                for task in batch.drain(..) {
                    self.serve(&mut vec![task]);
                }
            }
        }
    }

    fn transact(&mut self, batch: &mut [Box<dyn Task>]) -> Result<(), Failure> {
        let was_failing = self.failing;
        let opened = self.opened.as_mut().ok_or(Failure::Missing)?;
        let held = opened.held;
        let result = transact(opened, was_failing, batch);
        self.failing = match &result {
            Ok(()) => false,
            // A record that does not read says nothing of the file.
            Err(Failure::Unreadable(_)) => was_failing,
            Err(_) => true,
        };
        if let Err(failure) = &result {
            opened.held = held;
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

fn transact(
    opened: &mut Opened,
    was_failing: bool,
    batch: &mut [Box<dyn Task>],
) -> Result<(), Failure> {
    let urgent = batch.iter().any(|task| task.is_urgent());
    opened.set_urgency(if urgent { Urgency::Now } else { Urgency::Soon })?;
    let transaction = opened
        .sql
        .transaction_with_behavior(TransactionBehavior::Immediate)?;
    for task in batch {
        task.run(&mut Change {
            sql: &transaction,
            held: &mut opened.held,
            was_failing,
        })?;
    }
    transaction.commit()?;
    Ok(())
}

/// What became of a task.
enum Outcome {
    Done,
    NoFile,
    Failed(Arc<Failure>),
}

/// Work in the queue, whatever it returns.
trait Task: Send {
    fn is_urgent(&self) -> bool;
    fn makes_file(&self) -> bool;
    fn is_given_up(&self) -> bool;
    fn run(&mut self, change: &mut Change<'_>) -> Result<(), Failure>;
    fn answer(self: Box<Self>, outcome: Outcome);
}

struct Work<T, F> {
    urgency: Urgency,
    missing: Missing,
    work: F,
    done: Option<T>,
    reply: oneshot::Sender<Result<Option<T>, Arc<Failure>>>,
}

impl<T: Send, F: FnMut(&mut Change<'_>) -> Result<T, Failure> + Send> Task for Work<T, F> {
    fn is_urgent(&self) -> bool {
        self.urgency == Urgency::Now
    }

    fn makes_file(&self) -> bool {
        self.missing == Missing::Make
    }

    fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, change: &mut Change<'_>) -> Result<(), Failure> {
        self.done = None;
        self.done = Some((self.work)(change)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Outcome) {
        let result = match outcome {
            Outcome::Done => Ok(self.done),
            Outcome::NoFile => Ok(None),
            Outcome::Failed(failure) => Err(failure),
        };
        // Nobody may be waiting any more.
        let _ = self.reply.send(result);
    }
}

/// Its number on Linux, macOS and the BSDs.
#[cfg(unix)]
const SIGXFSZ: i32 = 25;

/// How many changes may wait; one more is turned away.
const QUEUE: usize = 16_384;

/// How many share a transaction at most, so that each is done in time.
const BATCH: usize = 512;
