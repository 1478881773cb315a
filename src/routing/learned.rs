//! What was learnt about pages whose route is decided by their documents, by host and path pattern, until it expires.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::evidence::Evidence;
use crate::config::Via;
use crate::session::time::Timestamp;

/// The lessons.
///
/// Capacity: 4,096; then the one that expires first gives way.
#[derive(Debug, Default)]
pub struct Learned {
    lessons: Mutex<BTreeMap<Where, Lesson>>,
}

/// Host and path pattern.
type Where = (Box<str>, Box<str>);

/// What was learnt about one host and path pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// How such pages go from now on.
    pub via: Via,
    /// What the document showed.
    pub evidence: Evidence,
    /// Whether rendering added something; if not, such pages go by http.
    pub gained: bool,
    /// When it was learnt.
    pub learned: Timestamp,
    /// Until when it holds.
    pub expires: Timestamp,
}

impl Lesson {
    /// The reason in words.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.gained {
            true => self.evidence.as_str().to_owned(),
            false => format!("{}, yet rendering added nothing", self.evidence.as_str()),
        }
    }
}

impl Learned {
    /// The lesson for a page of this host (with its port where that is not the scheme's) and path, unless it has expired.
    #[must_use]
    pub fn find(&self, host: &str, path: &str, now: Timestamp) -> Option<Lesson> {
        let lessons = self.lessons.lock();
        let lesson = lessons.get(&(host.into(), pattern(path).into()))?;
        (lesson.expires > now).then_some(*lesson)
    }

    /// Remembers what a page showed, and whether rendering it added something.
    pub fn learn(&self, host: &str, path: &str, evidence: Evidence, gained: bool, now: Timestamp) {
        let mut lessons = self.lessons.lock();
        let key = (host.into(), pattern(path).into());
        if lessons.len() >= CAPACITY && !lessons.contains_key(&key) {
            let first = lessons.iter().min_by_key(|(_, lesson)| lesson.expires);
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                lessons.remove(&first);
            }
        }
        let lesson = Lesson {
            via: if gained { Via::Browser } else { Via::Http },
            evidence,
            gained,
            learned: now,
            expires: now + LIFE,
        };
        lessons.insert(key, lesson);
    }

    /// The lessons that hold, in the order of hosts and patterns.
    #[must_use]
    pub fn list(&self, now: Timestamp) -> Vec<(Box<str>, Box<str>, Lesson)> {
        let mut lessons = self.lessons.lock();
        lessons.retain(|_, lesson| lesson.expires > now);
        let list = lessons.iter();
        list.map(|((host, path), lesson)| (host.clone(), path.clone(), *lesson))
            .collect()
    }

    /// Forgets the lessons of a host, or all; how many there were.
    pub fn forget(&self, host: Option<&str>) -> usize {
        let mut lessons = self.lessons.lock();
        let before = lessons.len();
        lessons.retain(|(known, _), _| host.is_some_and(|host| **known != *host));
        before - lessons.len()
    }
}

const CAPACITY: usize = 4096;
/// Sites change, and a wrong lesson should not outlive a day's work.
const LIFE: Duration = Duration::from_secs(3600);

/// The path with `*` for segments that name one thing of many: numbers, ids, dates. What is deep down counts as one.
fn pattern(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for (depth, segment) in path.trim_start_matches('/').split('/').enumerate() {
        pattern.push('/');
        if depth == DEPTH {
            pattern.push_str("**");
            break;
        }
        pattern.push_str(if names_one(segment) { "*" } else { segment });
    }
    pattern
}

const DEPTH: usize = 6;

fn names_one(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let is_hex = segment.len() >= 8
        && digits > 0
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    segment.len() > 40 || is_hex || digits > 0 && digits * 3 >= segment.len() || digits >= 4
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_514_400);

    #[test]
    fn segments_that_name_one_thing_are_a_star() {
        for (path, wanted) in [
            ("/", "/"),
            ("/shop/list", "/shop/list"),
            ("/item/17", "/item/*"),
            ("/item/17/", "/item/*/"),
            ("/i/550e8400-e29b-41d4-a716-446655440000/edit", "/i/*/edit"),
            ("/blog/2026-11-28/title-of-it", "/blog/*/title-of-it"),
            ("/p/blue-shirt-20391", "/p/*"),
            ("/v2/users", "/*/users"),
            ("/a/b/c/d/e/f/g/h", "/a/b/c/d/e/f/**"),
        ] {
            assert_eq!(pattern(path), wanted, "{path}");
        }
    }

    #[test]
    fn a_lesson_holds_until_it_expires_or_is_forgotten() {
        let learned = Learned::default();
        learned.learn("a.example", "/item/1", Evidence::EmptyRoot, true, NOW);
        learned.learn("b.example", "/", Evidence::NoText, false, NOW);
        let lesson = learned.find("a.example", "/item/2", NOW).unwrap();
        assert_eq!(lesson.via, Via::Browser);
        assert_eq!(learned.find("b.example", "/", NOW).unwrap().via, Via::Http);
        assert!(learned.find("a.example", "/other", NOW).is_none());
        assert!(learned.find("a.example", "/item/2", NOW + LIFE).is_none());
        assert_eq!(learned.list(NOW).len(), 2);
        assert_eq!(learned.forget(Some("a.example")), 1);
        assert_eq!(learned.list(NOW).len(), 1);
        assert_eq!(learned.forget(None), 1);
    }

    #[test]
    fn lessons_are_bounded() {
        let learned = Learned::default();
        for host in 0..CAPACITY + 10 {
            let at = NOW + Duration::from_micros(host as u64);
            learned.learn(&format!("h{host}"), "/", Evidence::NoText, true, at);
        }
        assert_eq!(learned.list(NOW).len(), CAPACITY);
        assert!(
            learned.find("h0", "/", NOW).is_none(),
            "the oldest gave way"
        );
        assert!(learned.find("h10", "/", NOW).is_some());
    }
}
