//! What a client connection is doing: idle, sending a request's head, or being answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Bounds;
use super::framing::{BareLf, Framing};

/// Shared by a connection's bytes, its requests and whoever watches its time.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<State>);

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Responses that are not finished; more than one in HTTP/2 only.
    answering: usize,
    /// Requests whose answers were begun.
    begun: u64,
    /// Where the client's bytes are.
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Head,
    Answering,
}

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            phase: Phase::Idle,
            since: Instant::now(),
            answering: 0,
            begun: 0,
            framing: Framing::new(),
        })))
    }

    /// Bytes came from an HTTP/1 client: of a head, unless a request is being answered. Nothing after a bare LF is to be read.
    pub(super) fn arrived(&self, bytes: &[u8]) -> Option<BareLf> {
        let mut state = self.0.lock();
        if state.phase == Phase::Idle {
            state.phase = Phase::Head;
            state.since = Instant::now();
        }
        state.framing.follow(bytes)
    }

    /// A request's head is complete; the guard is dropped when its response is.
    pub(super) fn begin(self: &Arc<Self>) -> Answering {
        let mut state = self.0.lock();
        state.phase = Phase::Answering;
        state.answering += 1;
        state.begun += 1;
        Answering(Arc::clone(self))
    }

    /// The answer is known, and whether it switches protocols; true where the connection must close after it.
    pub(super) fn answered(&self, switches: bool) -> bool {
        let mut state = self.0.lock();
        match switches {
            true => state.framing.switched(),
            false => state.framing.stayed(),
        }
        state.framing.is_last(state.begun)
    }

    /// Whether no response is under way, so that what is written now is not one of ours.
    pub(super) fn is_quiet(&self) -> bool {
        self.0.lock().phase != Phase::Answering
    }

    /// Whether the client has used up its time; when to look again otherwise.
    pub(super) fn overdue(&self, bounds: &Bounds, now: Instant) -> Result<Instant, Overdue> {
        let state = self.0.lock();
        let (end, overdue) = match state.phase {
            Phase::Idle => (state.since + bounds.idle_timeout, Overdue::Idle),
            Phase::Head => (state.since + bounds.header_read_timeout, Overdue::Head),
            Phase::Answering => return Ok(now + bounds.header_read_timeout),
        };
        if end <= now {
            return Err(overdue);
        }
        // A head may begin at any moment, and has its own time then.
        Ok(end.min(now + bounds.header_read_timeout.max(SHORTEST_LOOK)))
    }
}

const SHORTEST_LOOK: Duration = Duration::from_millis(10);

/// Why a connection is closed by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing came for `proxy.idle_timeout`.
    Idle,
    /// A head was not complete within `proxy.header_read_timeout`.
    Head,
}

/// A response under way.
#[derive(Debug)]
pub(super) struct Answering(Arc<Pulse>);

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.answering -= 1;
        if state.answering == 0 {
            state.phase = Phase::Idle;
            state.since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_time_for_a_head_and_more_between_requests() {
        let bounds = Bounds {
            max_connections: 1,
            header_read_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(10),
            max_header_bytes: 8192,
        };
        let pulse = Pulse::new();
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(pulse.overdue(&bounds, later(5)).is_ok());
        assert_eq!(pulse.overdue(&bounds, later(20)), Err(Overdue::Idle));
        pulse.arrived(b"GET");
        assert_eq!(pulse.overdue(&bounds, later(5)), Err(Overdue::Head));
        let answering = pulse.begin();
        assert!(!pulse.is_quiet());
        assert!(pulse.overdue(&bounds, later(1000)).is_ok());
        drop(answering);
        assert!(pulse.is_quiet());
        assert!(pulse.overdue(&bounds, later(5)).is_ok());
    }
}
