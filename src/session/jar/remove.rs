//! Cookies that another holder of them was seen to remove.

use super::cookie::CookieKey;
use super::superseded::EchoMark;
use super::{Jar, matching};
use crate::session::Timestamp;
use crate::session::delta::CookieDelta;

impl Jar {
    /// Removes the cookies of these keys.
    ///
    /// A removal is part of the change even where there is no such cookie here: another process may have stored it.
    pub fn remove_keys(
        &mut self,
        keys: impl IntoIterator<Item = CookieKey>,
        now: Timestamp,
    ) -> CookieDelta {
        let mut delta = CookieDelta::default();
        for key in keys {
            if let Some(cookie) = self.find(&key).filter(|cookie| !cookie.is_expired(now)) {
                delta.mark(EchoMark::stale(
                    matching::site(cookie.domain()),
                    cookie.name(),
                    cookie.value(),
                ));
            }
            delta.remove(key);
        }
        self.apply(&delta);
        delta
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::jar::CookieUrl;

    #[test]
    fn a_removed_cookie_is_a_stale_echo_and_the_others_stay() {
        let now = Timestamp::from_unix_seconds(1_795_514_400);
        let url = CookieUrl {
            secure: true,
            host: "shop.example",
            path: "/",
        };
        let mut jar = Jar::default();
        jar.receive(&url, [&b"a=1"[..], b"b=2"], now);
        let key = jar
            .iter()
            .find(|cookie| cookie.name().as_bytes() == b"a")
            .map(|cookie| cookie.key().clone())
            .unwrap();
        let delta = jar.remove_keys([key], now);
        assert_eq!((delta.changes().count(), delta.echoes().len()), (1, 1));
        assert_eq!(jar.header_for(&url, [&b"a=1"[..]], now).unwrap(), "b=2");
    }
}
