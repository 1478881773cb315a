//! Input that is malformed or ambiguous is answered as the contract says, and the process lives.

mod corpus;
mod prefaces;
mod requests;
mod responses;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use crate::support::head::{Framing, Head};
use crate::support::raw::RawAnswer;
use crate::support::{Answer, Burdock, Raw};

/// Growth that no corpus may exceed: what is kept of a message is bounded, and given back.
const GROWTH: u64 = 64 << 20;

/// Runs `cases` side by side, a few at once, and gives what came of each by its name, in order; nothing of one that failed.
async fn all<T: Send + 'static>(
    cases: impl IntoIterator<Item = (String, impl Future<Output = T> + Send + 'static)>,
) -> Vec<(String, Option<T>)> {
    const AT_ONCE: usize = 32;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let running = cases.into_iter().map(|(name, case)| {
        let places = Arc::clone(&places);
        let case = tokio::spawn(async move {
            let _place = places.acquire().await.expect("never closed");
            case.await
        });
        (name, case)
    });
    let mut done = Vec::new();
    for (name, case) in running.collect::<Vec<_>>() {
        done.push((name, case.await.ok()));
    }
    done
}

/// Judges each outcome, and fails with the names of all that are not as they should be.
fn judge<'a, T>(
    outcomes: impl IntoIterator<Item = (&'a str, Option<T>)>,
    verdict: impl Fn(&str, T),
) {
    let good = |name, outcome: Option<T>| {
        outcome.is_some_and(|outcome| {
            catch_unwind(AssertUnwindSafe(|| verdict(name, outcome))).is_ok()
        })
    };
    let outcomes = outcomes.into_iter();
    let wrong: Vec<_> = outcomes
        .filter_map(|(name, outcome)| (!good(name, outcome)).then_some(name))
        .collect();
    assert!(wrong.is_empty(), "{} wrong: {wrong:?}", wrong.len());
}

/// The responses in all that came of a connection, interim ones left out.
#[derive(Debug)]
struct Read {
    /// The whole ones.
    answers: Vec<Answer>,
    /// The connection ended in the middle of one more.
    cut: bool,
}

/// Reads `bytes`; `head` says that the first request was a HEAD.
fn read(mut bytes: &[u8], head: bool) -> Read {
    let mut read = Read {
        answers: Vec::new(),
        cut: false,
    };
    while !bytes.is_empty() {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            panic!("half a head: {:?}", String::from_utf8_lossy(bytes))
        };
        let fields = Head::parse(&bytes[..end + 4]);
        bytes = &bytes[end + 4..];
        if fields.status() < 200 {
            continue;
        }
        let bodiless = matches!(fields.status(), 204 | 304) || (head && read.answers.is_empty());
        let body = match fields.framing() {
            _ if bodiless => Some(Vec::new()),
            Framing::None => take(&mut bytes, usize::MAX),
            Framing::Length(length) => {
                take(&mut bytes, usize::try_from(length).unwrap_or(usize::MAX))
            }
            Framing::Chunked => chunks(&mut bytes),
        };
        match body {
            Some(body) => read.answers.push(RawAnswer { head: fields, body }.into()),
            None => {
                read.cut = true;
                break;
            }
        }
    }
    read
}

/// A chunked body, or nothing where it ends early. burdock writes no extensions.
fn chunks(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let line = take(bytes, end + 2)?;
        let size = std::str::from_utf8(&line).expect("digits").trim_end();
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        if size == 0 {
            // Trailers, and the empty line.
            let mut trailers = 0;
            while take(bytes, 2)? != b"\r\n" {
                trailers += 1;
                let end = bytes.windows(2).position(|window| window == b"\r\n")?;
                take(bytes, end + 2)?;
                assert!(trailers < 1000, "trailers");
            }
            return Some(body);
        }
        body.extend(take(bytes, size)?);
        assert_eq!(take(bytes, 2)?, b"\r\n", "the end of a chunk");
    }
}

/// The first `count` of `bytes`; `usize::MAX` are all that there are.
fn take(bytes: &mut &[u8], count: usize) -> Option<Vec<u8>> {
    let count = if count == usize::MAX {
        bytes.len()
    } else {
        count
    };
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken.to_vec())
}

/// Ends the sending direction, where the other side has not ended both already.
async fn half_close(wire: Raw) -> Raw {
    let mut stream = wire.into_stream();
    let _ = stream.shutdown().await;
    Raw::over(stream)
}

/// A good request still has its answer, and memory is where it was.
async fn lives(burdock: &Burdock, before: u64, url: &str) {
    let answer = burdock.client().get(url).await;
    assert_eq!(answer.status, 200, "a good request: {answer:?}");
    let grown = burdock.resident().saturating_sub(before);
    assert!(grown < GROWTH, "{} MiB more", grown >> 20);
}
