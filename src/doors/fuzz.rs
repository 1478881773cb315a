//! What fuzzers feed this floor: a connection's first bytes, the frames of HTTP/2, the head of a request.

use std::time::Instant;

use super::detect::{Detected, detect};
use super::flood::Flood;
use super::framing::{BareLf, Framing};

/// More bytes never change what was decided, and a decision comes in the end. As frames of HTTP/2, how the bytes were cut makes
/// no difference.
pub(crate) fn first_bytes(data: &[u8]) {
    let data = &data[..data.len().min(2048)];
    let whole = detect(data);
    let first = (0..data.len())
        .map(|cut| detect(&data[..cut]))
        .find(|early| *early != Detected::NeedMore);
    if let Some(early) = first {
        assert_eq!(early, whole, "more bytes changed the decision");
    }
    let mut long = data.to_vec();
    long.resize(data.len() + 32 * 1024, b'x');
    assert_ne!(detect(&long), Detected::NeedMore, "there is no end to it");
    if whole == Detected::Tls {
        assert!(data.starts_with(&[22, 3]));
    }

    let now = Instant::now();
    let (mut at_once, mut by_and_by) = (Flood::new(now), Flood::new(now));
    let flooded = at_once.arrived(data, now);
    let cut = data
        .iter()
        .try_for_each(|byte| by_and_by.arrived(&[*byte], now));
    assert_eq!(flooded, cut, "cuts make a difference");
}

/// Requests; however they are cut, the same is seen of their framing.
pub(crate) fn head(data: &[u8]) {
    let (mut at_once, mut by_and_by) = (Framing::new(), Framing::new());
    let whole = at_once.follow(data).map(|flaw| match flaw {
        BareLf::InHead(at) | BareLf::InBody(at) => at,
    });
    let pieces = data
        .iter()
        .position(|byte| by_and_by.follow(&[*byte]).is_some());
    assert_eq!(whole, pieces, "cuts make a difference");
    for number in 1..4 {
        assert_eq!(at_once.is_last(number), by_and_by.is_last(number));
    }
}
