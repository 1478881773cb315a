//! Floods on an HTTP/2 connection, counted frame by frame as the client's bytes come in.
//!
//! The known attacks make a server work for nothing: PING and SETTINGS that want an answer, streams reset as
//! soon as they are opened (CVE-2023-44487), CONTINUATION without end (CVE-2024-27316), frames without content, priority
//! churn (CVE-2019-9512 to 9518). What they have in common is frames that carry nothing. Each such
//! frame costs the client a credit; credits come back with time and with frames that carry something. A
//! connection without credit ends.

use std::time::{Duration, Instant};

/// Reads frame headers (RFC 9113, section 4.1) out of a stream of bytes, keeping nothing but where it is.
#[derive(Debug)]
pub(super) struct Flood {
    /// Octets of the connection preface still to come.
    preface: usize,
    header: [u8; 9],
    have: usize,
    /// Octets of the present frame's payload still to come.
    payload: usize,
    credit: u32,
    refilled: Instant,
}

/// The client sent more empty work than any client has reason to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client floods its HTTP/2 connection with frames that carry nothing")]
pub(super) struct Flooded;

/// Empty frames a client may send at once; browsers send some tens.
const BURST: u32 = 1000;
/// Credits that come back each second.
const PER_SECOND: u32 = 200;
const PREFACE: usize = 24;

/// Frame types of RFC 9113, section 6.
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Flood {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            preface: PREFACE,
            header: [0; 9],
            have: 0,
            payload: 0,
            credit: BURST,
            refilled: now,
        }
    }

    /// Takes the next bytes of the connection.
    ///
    /// # Errors
    /// [`Flooded`] once the client is out of credit; the connection is to end.
    pub(super) fn arrived(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flooded> {
        let skip = self.preface.min(bytes.len());
        self.preface -= skip;
        bytes = &bytes[skip..];
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skip = self.payload.min(bytes.len());
                self.payload -= skip;
                bytes = &bytes[skip..];
                continue;
            }
            let take = (self.header.len() - self.have).min(bytes.len());
            self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            bytes = &bytes[take..];
            if self.have == self.header.len() {
                self.have = 0;
                self.frame(now)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, now: Instant) -> Result<(), Flooded> {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let carries = match kind {
            kind::DATA => self.payload > 0 || flags & END_STREAM != 0,
            kind::HEADERS => true,
            kind::CONTINUATION => self.payload > 0 && flags & END_HEADERS != 0,
            // A download is paid for in these; they cost us next to nothing.
            kind::WINDOW_UPDATE => true,
            _ => false,
        };
        if carries {
            return Ok(());
        }
        if self.credit == 0 {
            self.refill(now);
        }
        self.credit = self.credit.checked_sub(1).ok_or(Flooded)?;
        Ok(())
    }

    fn refill(&mut self, now: Instant) {
        let passed = now
            .saturating_duration_since(self.refilled)
            .min(Duration::from_secs(60));
        let earned = passed.as_millis() as u64 * u64::from(PER_SECOND) / 1000;
        self.credit = BURST.min(u32::try_from(earned).unwrap_or(BURST));
        self.refilled = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("short").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(9 + payload, b'x');
        frame
    }

    fn started(now: Instant) -> Flood {
        let mut flood = Flood::new(now);
        flood
            .arrived(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now)
            .expect("the preface");
        flood
    }

    #[test]
    fn frames_that_carry_nothing_use_up_the_credit() {
        for (name, empty) in [
            ("PING", frame(6, 0, 8)),
            ("SETTINGS", frame(4, 0, 0)),
            ("RST_STREAM", frame(3, 0, 4)),
            ("PRIORITY", frame(2, 0, 5)),
            ("empty DATA", frame(0, 0, 0)),
            ("endless CONTINUATION", frame(9, 0, 10)),
        ] {
            let now = Instant::now();
            let mut flood = started(now);
            for _ in 0..BURST {
                assert_eq!(flood.arrived(&empty, now), Ok(()), "{name}");
            }
            assert_eq!(flood.arrived(&empty, now), Err(Flooded), "{name}");
        }
    }

    #[test]
    fn credit_comes_back_with_time() {
        let now = Instant::now();
        let mut flood = started(now);
        let ping = frame(6, 0, 8);
        for second in 0..100 {
            for _ in 0..PER_SECOND / 2 {
                assert_eq!(
                    flood.arrived(&ping, now + Duration::from_secs(second)),
                    Ok(())
                );
            }
        }
    }

    #[test]
    fn requests_and_bodies_cost_nothing() {
        let now = Instant::now();
        let mut flood = started(now);
        for _ in 0..10_000 {
            assert_eq!(flood.arrived(&frame(1, 5, 30), now), Ok(()));
            assert_eq!(flood.arrived(&frame(0, 0, 1000), now), Ok(()));
        }
        assert_eq!(flood.credit, BURST);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_makes_no_difference(
            frames in prop::collection::vec((0u8..12, any::<u8>(), 0usize..40), 0..50),
            cuts in prop::collection::vec(1usize..30, 1..20),
        ) {
            let now = Instant::now();
            let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, payload)| frame(*kind, *flags, *payload)).collect();
            let mut whole = started(now);
            whole.arrived(&bytes, now).expect("few");
            let mut cut = started(now);
            let mut rest = &bytes[..];
            for at in cuts.iter().cycle().take(bytes.len()) {
                let (head, tail) = rest.split_at((*at).min(rest.len()));
                cut.arrived(head, now).expect("few");
                rest = tail;
            }
            prop_assert_eq!((whole.credit, whole.payload, whole.have), (cut.credit, cut.payload, cut.have));
        }
    }
}
