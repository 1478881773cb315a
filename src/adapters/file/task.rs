//! Work for the one that writes: what it is given, and what it answers.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::Failure;

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
    /// Whether the file could not be written, and has not been since.
    pub(super) failing: &'a mut bool,
}

/// What comes back: none where there is no file.
pub(super) type Answer<T> = oneshot::Receiver<Result<Option<T>, Arc<Failure>>>;

/// What became of a task.
pub(super) enum Outcome {
    Done,
    NoFile,
    Failed(Arc<Failure>),
}

/// Work in the queue, whatever it returns.
pub(super) trait Task: Send {
    fn is_urgent(&self) -> bool;
    fn makes_file(&self) -> bool;
    fn is_given_up(&self) -> bool;
    fn run(&mut self, change: &mut Change<'_>) -> Result<(), Failure>;
    fn answer(self: Box<Self>, outcome: Outcome);
}

/// Work that returns a `T`.
pub(super) struct Work<T, F> {
    urgency: Urgency,
    missing: Missing,
    work: F,
    done: Option<T>,
    reply: oneshot::Sender<Result<Option<T>, Arc<Failure>>>,
}

impl<T, F> Work<T, F> {
    pub(super) fn new(urgency: Urgency, missing: Missing, work: F) -> (Self, Answer<T>) {
        let (reply, answer) = oneshot::channel();
        let task = Self {
            urgency,
            missing,
            work,
            done: None,
            reply,
        };
        (task, answer)
    }
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
