//! What a client connection is doing: idle, sending a request's head, or being answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Bounds;

/// Shared by a connection's bytes, its requests and whoever watches its time.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<State>);

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Responses that are not finished; more than one in HTTP/2 only.
    answering: usize,
    /// The first bytes of the head being read, as the client wrote them.
    head: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Head,
    Answering,
}

/// Kept of a head, for [`Pulse::begin`]; longer ones are looked at so far only.
const HEAD_KEPT: usize = 16 * 1024;

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            phase: Phase::Idle,
            since: Instant::now(),
            answering: 0,
            head: Vec::new(),
        })))
    }

    /// Bytes came from an HTTP/1 client: of a head, unless a request is being answered.
    pub(super) fn arrived(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        if state.phase == Phase::Answering {
            return;
        }
        if state.phase == Phase::Idle {
            state.phase = Phase::Head;
            state.since = Instant::now();
        }
        let room = HEAD_KEPT.saturating_sub(state.head.len());
        state
            .head
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// A request's head is complete; the guard is dropped when its response is.
    ///
    /// How the head delimits the body is looked for only where it has a Transfer-Encoding, `coded`.
    pub(super) fn begin(self: &Arc<Self>, coded: bool) -> (Answering, Framing) {
        let mut state = self.0.lock();
        state.phase = Phase::Answering;
        state.answering += 1;
        let framing = Framing::of(&state.head, coded);
        state.head.clear();
        (Answering(Arc::clone(self)), framing)
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

/// How a request's head delimits its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// In one way, or in none.
    Clear,
    /// A line of the head ends in a bare LF, which not every parser takes for an end.
    BareLf,
    /// Both Content-Length and Transfer-Encoding: the parser takes the latter and hides the former, and
    /// the connection must close after the answer (RFC 9112, section 6.1).
    Both,
}

impl Framing {
    /// The two framings are looked for only where there is a Transfer-Encoding, `coded`.
    fn of(head: &[u8], coded: bool) -> Self {
        if has_bare_lf(head) {
            return Self::BareLf;
        }
        if !coded {
            return Self::Clear;
        }
        let mut length = false;
        let mut coding = false;
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            match line.iter().position(|byte| *byte == b':') {
                Some(colon) => {
                    length |= line[..colon].eq_ignore_ascii_case(b"content-length");
                    coding |= line[..colon].eq_ignore_ascii_case(b"transfer-encoding");
                }
                None if line.trim_ascii().is_empty() => break,
                None => {}
            }
        }
        match length && coding {
            true => Self::Both,
            false => Self::Clear,
        }
    }
}

/// Whether a line of the head, the empty one at its end included, ends in LF without CR.
fn has_bare_lf(head: &[u8]) -> bool {
    let mut line = 0;
    for at in memchr::memchr_iter(b'\n', head) {
        if at == line || head[at - 1] != b'\r' {
            return true;
        }
        // An empty line before the request line is not its end (RFC 9112, section 2.2).
        if at == line + 1 && line > 1 {
            return false;
        }
        line = at + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_framings_are_seen_in_the_head_and_only_there() {
        for (head, wanted) in [
            (
                "POST / HTTP/1.1\r\nContent-Length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
                Framing::Both,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\ntransfer-encoding: chunked",
                Framing::Clear,
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Framing::Clear,
            ),
            ("", Framing::Clear),
            ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", Framing::BareLf),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Framing::BareLf),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", Framing::BareLf),
            (
                "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nbody\n",
                Framing::Clear,
            ),
        ] {
            assert_eq!(Framing::of(head.as_bytes(), true), wanted, "{head}");
        }
    }

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
        let (answering, _) = pulse.begin(true);
        assert!(!pulse.is_quiet());
        assert!(pulse.overdue(&bounds, later(1000)).is_ok());
        drop(answering);
        assert!(pulse.is_quiet());
        assert!(pulse.overdue(&bounds, later(5)).is_ok());
    }
}
