//! Who made a durable change: a text that differs with every one, so that the change stream tells it each time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::session::record::Generation;

/// 64 random bits that tell this process from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process(pub(super) u64);

/// Numbers the changes of this process.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) process: Process,
    changes: AtomicU64,
}

/// Which session was changed, and by which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) generation: Generation,
    pub(super) process: Process,
}

impl Writer {
    pub(super) fn new(process: u64) -> Self {
        Self {
            process: Process(process),
            changes: AtomicU64::new(0),
        }
    }

    /// The text of the next change, of a session of this generation.
    pub(super) fn next(&self, generation: Generation) -> String {
        format!("{generation} {} {:x}", self.process, self.number())
    }

    /// A name that no other process uses, nor this one again.
    pub(super) fn name(&self) -> String {
        format!("{}-{:x}", self.process, self.number())
    }

    fn number(&self) -> u64 {
        self.changes.fetch_add(1, Ordering::Relaxed)
    }
}

impl Written {
    /// Reads what [`Writer::next`] wrote.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let generation = parts.next()?.parse().ok()?;
        let process = u64::from_str_radix(parts.next()?, 16).ok()?;
        Some(Self {
            generation,
            process: Process(process),
        })
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_changes_have_one_text_and_each_tells_who_made_it() {
        let writer = Writer::new(0xab);
        let generation = Generation::new(7);
        let (one, two) = (writer.next(generation), writer.next(generation));
        assert_ne!(one, two);
        let written = Written {
            generation,
            process: Process(0xab),
        };
        assert_eq!(Written::read(&two), Some(written));
        for text in ["", "7 ab 1", "x", &format!("{generation}")] {
            assert_eq!(Written::read(text), None, "{text}");
        }
    }
}
