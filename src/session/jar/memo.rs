//! The last few `Cookie` values that a jar made, so that a busy path costs a comparison.

use std::time::Duration;

use http::HeaderValue;

use super::CookieUrl;
use crate::session::Timestamp;

/// The answers for the last 8 URLs; the one made first gives way. A clone begins empty.
#[derive(Default)]
pub(super) struct Memo {
    answers: Vec<Answer>,
    next: usize,
}

/// A field value and how long it holds.
pub(super) struct Answer {
    secure: bool,
    host: Box<str>,
    path: Box<str>,
    version: u64,
    made: Timestamp,
    until: Timestamp,
    value: Option<HeaderValue>,
}

impl Memo {
    /// The field value for this URL; none where it is not known any more. The inner none: no field is sent.
    pub(super) fn recall(
        &self,
        url: &CookieUrl<'_>,
        version: u64,
        now: Timestamp,
    ) -> Option<&Option<HeaderValue>> {
        let answer = self.answers.iter().find(|answer| answer.is_for(url))?;
        let holds = answer.version == version && (answer.made..answer.until).contains(&now);
        holds.then_some(&answer.value)
    }

    /// Keeps a value that holds until `expires`, the first expiry among its cookies, for a minute at most: then the cookies'
    /// last access is due to move.
    pub(super) fn keep(
        &mut self,
        url: &CookieUrl<'_>,
        version: u64,
        now: Timestamp,
        expires: Timestamp,
        value: Option<HeaderValue>,
    ) {
        let answer = Answer {
            secure: url.secure,
            host: url.host.into(),
            path: url.path.into(),
            version,
            made: now,
            until: expires.min(now + ACCESS_GRANULARITY),
            value,
        };
        if let Some(known) = self.answers.iter_mut().find(|known| known.is_for(url)) {
            *known = answer;
        } else if self.answers.len() < CAPACITY {
            self.answers.push(answer);
        } else {
            self.answers[self.next] = answer;
            self.next = (self.next + 1) % CAPACITY;
        }
    }
}

impl Answer {
    fn is_for(&self, url: &CookieUrl<'_>) -> bool {
        self.secure == url.secure && &*self.path == url.path && &*self.host == url.host
    }
}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

const CAPACITY: usize = 8;

/// How far a cookie's last-access-time may lag behind its last sending.
pub(super) const ACCESS_GRANULARITY: Duration = Duration::from_mins(1);
