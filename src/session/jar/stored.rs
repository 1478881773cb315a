//! A jar as stores keep it.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Jar;
use super::cookie::{Cookie, CookieParts, InvalidCookie};
use super::superseded::{EchoMark, Superseded};
use crate::session::Timestamp;
use crate::session::delta::CookieDelta;

/// The cookies in the order of their creation.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredJar<'a> {
    cookies: Vec<CookieParts>,
    superseded: Cow<'a, Superseded>,
}

impl Jar {
    /// A jar out of what a store keeps apart: the cookies, and the [marks](CookieDelta::echoes) in the order in which they
    /// were made.
    pub fn from_parts(
        cookies: impl IntoIterator<Item = Cookie>,
        marks: impl IntoIterator<Item = EchoMark>,
    ) -> Self {
        let mut delta = CookieDelta::default();
        for cookie in cookies {
            delta.set(Arc::new(cookie));
        }
        for mark in marks {
            delta.mark(mark);
        }
        let mut jar = Self::default();
        jar.apply(&delta);
        jar
    }
}

impl Serialize for Jar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cookies = self.live(Timestamp::MIN).map(Cookie::to_parts).collect();
        StoredJar {
            cookies,
            superseded: Cow::Borrowed(&self.superseded),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Jar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredJar::deserialize(deserializer)?;
        let mut delta = CookieDelta::default();
        for parts in stored.cookies {
            match Cookie::new(parts) {
                Ok(cookie) => delta.set(Arc::new(cookie)),
                // RFC 6265bis, section 5.8.3: such a cookie is not sent any more. It must not take the others with it.
                Err(InvalidCookie::PUBLIC_SUFFIX) => {}
                Err(error) => return Err(serde::de::Error::custom(error)),
            }
        }
        let mut jar = Self {
            superseded: stored.superseded.into_owned(),
            ..Self::default()
        };
        jar.apply(&delta);
        Ok(jar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_that_became_a_public_suffix_takes_its_cookie_alone() {
        let cookie = |domain: &str| {
            serde_json::json!({
                "name": "a", "value": "b", "domain": domain, "hostOnly": false, "path": "/", "secure": false,
                "httpOnly": false, "created": "2026-11-24T10:00:00Z", "updated": "2026-11-24T10:00:00Z",
            })
        };
        let jar = |domains: [&str; 2]| {
            serde_json::from_value::<Jar>(serde_json::json!({
                "cookies": domains.map(cookie), "superseded": [],
            }))
        };
        assert_eq!(jar(["shop.example", "github.io"]).unwrap().len(), 1);
        assert!(jar(["shop.example", "a b"]).is_err());
    }
}
