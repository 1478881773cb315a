//! The line before the one that writes, who takes many at a time and is woken once for them.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::failure::Failure;
use super::task::Task;

/// Tasks in the order in which they came.
#[derive(Default)]
pub(super) struct Queue {
    /// Held to put one in or to take them out.
    line: Mutex<Line>,
    news: Condvar,
}

#[derive(Default)]
struct Line {
    tasks: VecDeque<Box<dyn Task>>,
    /// How many the writer sleeps for; none while it is awake.
    awaited: Option<usize>,
    is_closed: bool,
}

impl Queue {
    /// Puts a task at the end.
    pub(super) fn put(&self, task: Box<dyn Task>) -> Result<(), Failure> {
        let mut line = self.line.lock();
        if line.is_closed {
            return Err(Failure::NoWriter);
        }
        if line.tasks.len() >= ROOM {
            return Err(Failure::Crowded);
        }
        line.tasks.push_back(task);
        let wakes = line
            .awaited
            .is_some_and(|awaited| line.tasks.len() >= awaited);
        if wakes {
            line.awaited = None;
        }
        drop(line);
        if wakes {
            self.news.notify_one();
        }
        Ok(())
    }

    /// Those that are to share a transaction, after one that `before` shared; none at the end of it all.
    ///
    /// Where many come at a time more are on their way, and pages and syncs that they share are the cheaper: they are waited
    /// for while they come. One after the other waits for nothing.
    pub(super) fn take(&self, before: usize) -> Option<Vec<Box<dyn Task>>> {
        let mut line = self.line.lock();
        while line.tasks.is_empty() {
            if line.is_closed {
                return None;
            }
            line.awaited = Some(1);
            self.news.wait(&mut line);
        }
        if before >= MANY {
            let longest = Instant::now() + LONGEST;
            let mut seen = 0;
            while (seen + 1..ENOUGH).contains(&line.tasks.len()) && !line.is_closed {
                seen = line.tasks.len();
                line.awaited = Some(ENOUGH);
                let until = longest.min(Instant::now() + SLICE);
                if self.news.wait_until(&mut line, until).timed_out() && until == longest {
                    break;
                }
            }
        }
        line.awaited = None;
        let some = line.tasks.len().min(BATCH);
        Some(line.tasks.drain(..some).collect())
    }

    /// Turns away what comes from here on; what is in the line is still taken.
    pub(super) fn close(&self) {
        self.line.lock().is_closed = true;
        self.news.notify_one();
    }

    /// As [`Self::close`], and lets go of those in the line, who learn of it thereby.
    pub(super) fn abandon(&self) {
        let mut line = self.line.lock();
        line.is_closed = true;
        line.tasks.clear();
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// How many may wait; one more is turned away.
const ROOM: usize = 16_384;

/// How many share a transaction at most, so that each is done in time.
const BATCH: usize = 512;

/// From how many in one transaction on the next waits for more.
const MANY: usize = 8;

/// How many are enough to begin with. More share more; but those that are written are not answered meanwhile, and with few
/// connections nothing is left to do then (docs/PERFORMANCE.md).
const ENOUGH: usize = 32;

/// How long nothing has to come for nothing to be on its way. Shorter ones wake the thread too often.
const SLICE: Duration = Duration::from_millis(1);

/// How long is waited at most. (PostgreSQL has `commit_siblings` and `commit_delay` for it.)
const LONGEST: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::super::task::{Answer, Change, Missing, Urgency, Work};
    use super::*;

    fn put(queue: &Queue) -> Result<Answer<()>, Failure> {
        let (task, answer) = Work::new(Urgency::Soon, Missing::Leave, |_: &mut Change<'_>| Ok(()));
        queue.put(Box::new(task)).map(|()| answer)
    }

    /// How many a writer gets that has just served so many.
    fn taken(queue: &Queue, before: usize) -> Option<usize> {
        queue.take(before).map(|tasks| tasks.len())
    }

    #[test]
    fn a_writer_that_waits_for_one_is_woken_by_it() {
        let queue = Arc::new(Queue::default());
        let writer = thread::spawn({
            let queue = Arc::clone(&queue);
            move || taken(&queue, 0)
        });
        put(&queue).unwrap();
        assert_eq!(writer.join().unwrap(), Some(1));
    }

    #[test]
    fn those_that_are_there_are_taken_together_and_not_too_many() {
        let queue = Queue::default();
        for _ in 0..=BATCH {
            put(&queue).unwrap();
        }
        assert_eq!(taken(&queue, MANY), Some(BATCH));
        // After many more are waited for, and when none come it does without.
        assert_eq!(taken(&queue, MANY), Some(1));
    }

    #[test]
    fn after_the_end_what_waits_is_taken_and_nothing_more_is() {
        let queue = Queue::default();
        put(&queue).unwrap();
        queue.close();
        assert!(matches!(put(&queue), Err(Failure::NoWriter)));
        assert_eq!(taken(&queue, MANY), Some(1));
        assert_eq!(taken(&queue, 0), None);
    }

    #[test]
    fn one_too_many_is_turned_away() {
        let queue = Queue::default();
        let answers: Vec<_> = (0..ROOM).map(|_| put(&queue).unwrap()).collect();
        assert!(matches!(put(&queue), Err(Failure::Crowded)));
        drop(answers);
    }

    #[test]
    fn those_that_an_ended_writer_leaves_learn_of_it() {
        let queue = Queue::default();
        let answer = put(&queue).unwrap();
        queue.abandon();
        assert!(answer.blocking_recv().is_err());
        assert!(matches!(put(&queue), Err(Failure::NoWriter)));
    }
}
