//! Cookies of a jar and of a context: what each has to be told of the other.

use std::collections::HashMap;
use std::time::Duration;

use chromiumoxide::cdp::browser_protocol::network::{
    CookieParam, CookiePartitionKey, CookieSameSite, TimeSinceEpoch,
};
use serde::Deserialize;
use serde_json::Value;

use crate::session::jar::{Cookie, CookieKey, CookieParts, Jar, PartitionKey, SameSite};
use crate::session::time::Timestamp;

/// What a context is known to hold.
#[derive(Debug, Default)]
pub(in crate::browser) struct Held {
    has: HashMap<CookieKey, Cookie>,
    /// What Chromium did not take. It must not look like a deletion by a page, and is not offered again.
    refused: HashMap<CookieKey, Cookie>,
}

/// What a context is to be told before a page is opened.
#[derive(Debug, Default)]
pub(in crate::browser) struct Plan {
    /// In this order; a cookie that goes has an expiry in the past.
    pub(in crate::browser) params: Vec<CookieParam>,
    /// Each cookie meant by that, and what it shall be.
    meant: Vec<(CookieKey, Option<Cookie>)>,
}

/// What pages did to the cookies of a context.
#[derive(Debug, Default, PartialEq)]
pub(in crate::browser) struct Changes {
    /// Set or replaced.
    pub(in crate::browser) put: Vec<Cookie>,
    /// Gone.
    pub(in crate::browser) removed: Vec<CookieKey>,
}

impl Held {
    /// What makes the context hold what `jar` does.
    pub(in crate::browser) fn plan(&self, jar: &Jar, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let wanted: Vec<&Cookie> = jar.live(now).collect();
        let keys: std::collections::HashSet<&CookieKey> =
            wanted.iter().map(|cookie| cookie.key()).collect();
        let gone = self
            .has
            .values()
            .filter(|cookie| !keys.contains(cookie.key()) && !cookie.is_expired(now));
        for cookie in gone {
            if let Some(param) = param(cookie, Some(PAST)) {
                plan.params.push(param);
                plan.meant.push((cookie.key().clone(), None));
            }
        }
        let is_known = |cookie: &Cookie| {
            [&self.has, &self.refused].iter().any(|known| {
                known
                    .get(cookie.key())
                    .is_some_and(|known| is_same(known, cookie))
            })
        };
        for cookie in wanted.into_iter().filter(|cookie| !is_known(cookie)) {
            let expires = cookie.expires().map(|expires| {
                // Far from where a double loses microseconds.
                expires.as_micros() as f64 / 1e6
            });
            if let Some(param) = param(cookie, expires) {
                plan.params.push(param);
                plan.meant
                    .push((cookie.key().clone(), Some(cookie.clone())));
            }
        }
        plan
    }

    /// Takes note of what the context holds after `plan`. Of other cookies nothing is learnt: a page may have changed them that renders
    /// at this moment, and that is found at its end.
    pub(in crate::browser) fn settle(&mut self, plan: Plan, shown: Vec<Cookie>) {
        let mut shown = by_key(shown);
        for (key, wanted) in plan.meant {
            let found = shown.remove(&key);
            let refused = match (&wanted, &found) {
                (Some(wanted), Some(found)) => !is_same(wanted, found),
                (Some(_), None) => true,
                (None, _) => false,
            };
            match wanted.filter(|_| refused) {
                Some(wanted) => self.refused.insert(key.clone(), wanted),
                None => self.refused.remove(&key),
            };
            match found {
                Some(found) => self.has.insert(key, found),
                None => self.has.remove(&key),
            };
        }
    }

    /// What pages have changed since the last look; takes note of it.
    pub(in crate::browser) fn changes(&mut self, shown: Vec<Cookie>) -> Changes {
        let put = shown
            .iter()
            .filter(|cookie| {
                self.has
                    .get(cookie.key())
                    .is_none_or(|known| !is_same(known, cookie))
            })
            .cloned()
            .collect();
        let shown = by_key(shown);
        let mut removed: Vec<CookieKey> = self
            .has
            .keys()
            .filter(|key| !shown.contains_key(*key))
            .cloned()
            .collect();
        removed.sort_unstable();
        self.has = shown;
        Changes { put, removed }
    }
}

impl Changes {
    /// Without those that the jar already has.
    pub(in crate::browser) fn news(self, jar: &Jar) -> Self {
        let put = self.put.into_iter().filter(|cookie| {
            jar.find(cookie.key())
                .is_none_or(|known| !is_same(known, cookie))
        });
        Self {
            put: put.collect(),
            removed: self.removed,
        }
    }

    pub(in crate::browser) fn is_empty(&self) -> bool {
        self.put.is_empty() && self.removed.is_empty()
    }
}

/// The cookies in the answer to `Storage.getCookies`. Those are passed over that the jar could not hold, and those that are not UTF-8,
/// whose octets CDP does not tell.
pub(in crate::browser) fn read(answer: &Value, now: Timestamp) -> Vec<Cookie> {
    let cookies = answer.get("cookies").and_then(Value::as_array);
    cookies
        .into_iter()
        .flatten()
        .filter_map(|cookie| {
            let shown = Shown::deserialize(cookie);
            shown.ok().and_then(|shown| shown.into_cookie(now))
        })
        .collect()
}

/// A cookie as CDP shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    value: String,
    domain: String,
    path: String,
    /// Seconds since the epoch; -1 for the end of the browser session.
    expires: f64,
    http_only: bool,
    secure: bool,
    #[serde(default)]
    same_site: Option<String>,
    #[serde(default)]
    partition_key: Option<ShownPartition>,
    #[serde(default)]
    partition_key_opaque: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownPartition {
    top_level_site: String,
    #[serde(default)]
    has_cross_site_ancestor: bool,
}

impl Shown {
    fn into_cookie(self, now: Timestamp) -> Option<Cookie> {
        let unreadable = self.name.contains('\u{fffd}') || self.value.contains('\u{fffd}');
        if unreadable || self.partition_key_opaque {
            return None;
        }
        let partition = match self.partition_key {
            Some(shown) => Some(PartitionKey::new(
                &shown.top_level_site,
                shown.has_cross_site_ancestor,
            )?),
            None => None,
        };
        let parts = CookieParts {
            name: self.name.into(),
            value: self.value.into(),
            host_only: !self.domain.starts_with('.'),
            domain: self.domain,
            path: self.path,
            partition,
            expires: (self.expires >= 0.0)
                .then(|| Timestamp::from_micros((self.expires * 1e6) as i64)),
            secure: self.secure,
            http_only: self.http_only,
            same_site: match self.same_site.as_deref() {
                Some("Strict") => Some(SameSite::Strict),
                Some("Lax") => Some(SameSite::Lax),
                Some("None") => Some(SameSite::None),
                _ => None,
            },
            created: now,
            updated: now,
        };
        Cookie::new(parts)
            .inspect_err(|error| tracing::debug!(%error, "a browser's cookie is left there"))
            .ok()
    }
}

/// None where the cookie is not UTF-8, which CDP cannot say.
fn param(cookie: &Cookie, expires: Option<f64>) -> Option<CookieParam> {
    let domain = match cookie.host_only() {
        true => cookie.domain().to_owned(),
        false => format!(".{}", cookie.domain()),
    };
    let mut param = CookieParam::new(
        std::str::from_utf8(cookie.name().as_bytes()).ok()?,
        std::str::from_utf8(cookie.value().as_bytes()).ok()?,
    );
    param.domain = Some(domain);
    param.path = Some(cookie.path().to_owned());
    param.secure = Some(cookie.secure());
    param.http_only = Some(cookie.http_only());
    param.same_site = cookie.same_site().map(|same_site| match same_site {
        SameSite::Strict => CookieSameSite::Strict,
        SameSite::Lax => CookieSameSite::Lax,
        SameSite::None => CookieSameSite::None,
    });
    param.expires = expires.map(TimeSinceEpoch::new);
    param.partition_key = cookie.partition().map(|key| CookiePartitionKey {
        top_level_site: key.top_level_site.to_string(),
        has_cross_site_ancestor: key.cross_site_ancestor,
    });
    Some(param)
}

fn by_key(cookies: Vec<Cookie>) -> HashMap<CookieKey, Cookie> {
    let keyed = cookies
        .into_iter()
        .map(|cookie| (cookie.key().clone(), cookie));
    keyed.collect()
}

/// Whether nobody could tell the two apart. A document's `Max-Age` begins a little later in the browser than in the jar.
fn is_same(a: &Cookie, b: &Cookie) -> bool {
    let expires = match (a.expires(), b.expires()) {
        (Some(a), Some(b)) => a.since(b).max(b.since(a)) <= TOLERANCE,
        (a, b) => a == b,
    };
    expires
        && a.key() == b.key()
        && a.value() == b.value()
        && (a.secure(), a.http_only(), a.same_site()) == (b.secure(), b.http_only(), b.same_site())
}

const TOLERANCE: Duration = Duration::from_secs(2);

/// Seconds since the epoch; 0 would mean that there is no expiry.
const PAST: f64 = 1.0;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::session::jar::CookieUrl;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_514_400);

    fn jar(lines: &[&str]) -> Jar {
        let url = CookieUrl {
            secure: true,
            host: "www.shop.example",
            path: "/",
        };
        let mut jar = Jar::default();
        jar.receive(&url, lines.iter().map(|line| line.as_bytes()), NOW);
        jar
    }

    /// What Chromium shows after it was told so.
    fn shown(params: &[CookieParam]) -> Value {
        let cookies: Vec<Value> = params
            .iter()
            .map(|param| {
                let mut cookie = serde_json::to_value(param).unwrap();
                let fields = cookie.as_object_mut().unwrap();
                fields.entry("expires").or_insert(json!(-1));
                cookie
            })
            .collect();
        json!({ "cookies": cookies })
    }

    fn settled(lines: &[&str]) -> (Held, Jar, Value) {
        let jar = jar(lines);
        let mut held = Held::default();
        let plan = held.plan(&jar, NOW);
        let there = shown(&plan.params);
        held.settle(plan, read(&there, NOW));
        (held, jar, there)
    }

    const LINES: &[&str] = &[
        "sid=1; HttpOnly; Secure; SameSite=Lax; Path=/a; Max-Age=60",
        "b=2; Domain=shop.example",
        "__Host-c=3; Secure; Path=/; Partitioned; SameSite=None",
        "=nameless",
    ];

    #[test]
    fn everything_survives_the_way_there_and_back() {
        let (mut held, jar, there) = settled(LINES);
        assert_eq!(held.plan(&jar, NOW).params, []);
        assert_eq!(held.changes(read(&there, NOW)), Changes::default());
        let cookies = read(&there, NOW);
        for cookie in jar.iter() {
            let back = cookies.iter().find(|back| back.key() == cookie.key());
            assert!(back.is_some_and(|back| is_same(back, cookie)), "{cookie:?}");
        }
        assert_eq!(cookies.len(), 4);
    }

    #[test]
    fn the_jars_order_is_kept() {
        let plan = Held::default().plan(&jar(LINES), NOW);
        let names: Vec<&str> = plan.params.iter().map(|param| &*param.name).collect();
        assert_eq!(names, ["sid", "b", "__Host-c", ""]);
    }

    #[test]
    fn what_the_jar_lost_is_deleted_with_its_partition() {
        let (held, _, _) = settled(LINES);
        let plan = held.plan(&jar(&LINES[..2]), NOW);
        assert_eq!(plan.params.len(), 2);
        assert!(
            plan.params
                .iter()
                .all(|param| param.expires == Some(TimeSinceEpoch::new(PAST)))
        );
        let partitioned = plan.params.iter().find(|param| param.name == "__Host-c");
        assert_eq!(
            partitioned
                .unwrap()
                .partition_key
                .as_ref()
                .unwrap()
                .top_level_site,
            "https://shop.example"
        );
    }

    #[test]
    fn a_pages_changes_are_found_once() {
        let (mut held, jar, mut there) = settled(LINES);
        let cookies = there["cookies"].as_array_mut().unwrap();
        cookies[0]["value"] = json!("new");
        cookies.remove(1);
        cookies.push(
            json!({"name": "js", "value": "x", "domain": "www.shop.example", "path": "/",
            "expires": -1, "httpOnly": false, "secure": false, "session": true}),
        );
        let changes = held.changes(read(&there, NOW)).news(&jar);
        let put: Vec<&str> = changes
            .put
            .iter()
            .map(|cookie| std::str::from_utf8(cookie.value().as_bytes()).unwrap())
            .collect();
        assert_eq!(put, ["new", "x"]);
        assert_eq!(changes.removed.len(), 1);
        assert_eq!(changes.removed[0].name.as_bytes(), b"b");
        assert!(held.changes(read(&there, NOW)).is_empty());
    }

    #[test]
    fn what_chromium_refused_is_no_deletion_and_not_tried_again() {
        let jar = jar(&["a=1", "b=2"]);
        let mut held = Held::default();
        let plan = held.plan(&jar, NOW);
        let there = shown(&plan.params[..1]);
        held.settle(plan, read(&there, NOW));
        assert_eq!(held.plan(&jar, NOW).params, []);
        assert!(held.changes(read(&there, NOW)).is_empty());
    }

    #[test]
    fn another_pages_change_is_not_taken_for_what_was_set() {
        let (mut held, mut jar, mut there) = settled(&["a=1"]);
        let url = CookieUrl {
            secure: true,
            host: "www.shop.example",
            path: "/",
        };
        jar.receive(&url, [&b"b=2"[..]], NOW);
        let plan = held.plan(&jar, NOW);
        let set = shown(&plan.params)["cookies"][0].clone();
        let cookies = there["cookies"].as_array_mut().unwrap();
        cookies[0]["value"] = json!("changed meanwhile");
        cookies.push(set);
        held.settle(plan, read(&there, NOW));
        assert_eq!(held.changes(read(&there, NOW)).put.len(), 1);
    }

    #[test]
    fn octets_that_cdp_cannot_say_stay_where_they_are() {
        let url = CookieUrl {
            secure: true,
            host: "www.shop.example",
            path: "/",
        };
        let mut jar = Jar::default();
        jar.receive(&url, [&b"a=\xff"[..]], NOW);
        assert_eq!(Held::default().plan(&jar, NOW).params, []);
        let cookie = json!({"cookies": [{"name": "a", "value": "\u{fffd}", "domain": "www.shop.example", "path": "/",
            "expires": -1, "httpOnly": false, "secure": false}]});
        assert!(read(&cookie, NOW).is_empty());
    }
}
