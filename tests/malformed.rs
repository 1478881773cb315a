//! Input that is malformed or ambiguous is answered as the contract says, and the process lives.

mod corpus;
mod requests;


use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::task::JoinSet;

use crate::support::head::{Framing, Head};
use crate::support::{Answer, Burdock};

/// Growth that no corpus may exceed: what is kept of a message is bounded, and given back.
const GROWTH: u64 = 64 << 20;

/// Runs `cases` side by side, a few at once, and gives their outcomes in order.
async fn all<T: Send + 'static>(
    cases: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    const AT_ONCE: usize = 32;
    let mut running = JoinSet::new();
    let mut done = Vec::new();
    let mut cases = cases.into_iter().enumerate();
    loop {
        while running.len() < AT_ONCE
            && let Some((at, case)) = cases.next()
        {
            running.spawn(async move { (at, case.await) });
        }
        match running.join_next().await {
            Some(outcome) => done.push(outcome.expect("a case does not panic")),
            None => break,
        }
    }
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Judges each outcome, and fails with the names of all that are not as they should be.
fn judge<'a, T: 'a>(
    outcomes: impl IntoIterator<Item = (&'a str, T)>,
    verdict: impl Fn(&str, T),
) {
    let mut wrong = Vec::new();
    for (name, outcome) in outcomes {
        if catch_unwind(AssertUnwindSafe(|| verdict(name, outcome))).is_err() {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{} wrong: {wrong:?}", wrong.len());
}

/// The final responses in `bytes`, which are all that came; each but the last must be whole.
fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("half a head: {:?}", String::from_utf8_lossy(bytes)));
        let head = Head::parse(&bytes[..end + 4]);
        bytes = &bytes[end + 4..];
        if head.status() < 200 {
            continue;
        }
        let body = match head.framing() {
            Framing::None => take(&mut bytes, usize::MAX),
            Framing::Length(length) => {
                let length = usize::try_from(length).expect("a length that fits memory");
                let body = take(&mut bytes, length);
                assert_eq!(body.len(), length, "half a body: {head:?}");
                body
            }
            Framing::Chunked => chunks(&mut bytes),
        };
        answers.push(crate::support::raw::RawAnswer { head, body }.into());
    }
    answers
}

fn chunks(bytes: &mut &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n");
        let line = take(bytes, end.expect("a chunk's size") + 2);
        let size = std::str::from_utf8(&line).expect("digits").trim_end();
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        body.extend(take(bytes, size));
        assert_eq!(take(bytes, 2), b"\r\n", "the end of a chunk");
        if size == 0 {
            return body;
        }
    }
}

fn take(bytes: &mut &[u8], count: usize) -> Vec<u8> {
    let (taken, rest) = bytes.split_at(count.min(bytes.len()));
    *bytes = rest;
    taken.to_vec()
}

/// A good request still has its answer, and memory is where it was.
async fn lives(burdock: &Burdock, before: u64, url: &str) {
    let answer = burdock.client().get(url).await;
    assert_eq!(answer.status, 200, "a good request: {answer:?}");
    let grown = burdock.resident().saturating_sub(before);
    assert!(grown < GROWTH, "{} MiB more", grown >> 20);
}
