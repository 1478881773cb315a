//! Which cookies an owner means.

use super::cookie::Cookie;
use super::matching;

/// Which cookies are meant: those that agree in everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieFilter {
    /// The whole name.
    pub name: Option<String>,
    /// The domain; with a leading dot only cookies that go to subdomains as well.
    pub domain: Option<String>,
    /// The whole path.
    pub path: Option<String>,
}

impl CookieFilter {
    pub(super) fn means(&self, cookie: &Cookie) -> bool {
        let name = self
            .name
            .as_ref()
            .is_none_or(|name| name.as_bytes() == cookie.name().as_bytes());
        let path = self.path.as_ref().is_none_or(|path| path == cookie.path());
        let domain = self.domain.as_ref().is_none_or(|domain| {
            let dotted = domain.starts_with('.');
            !(dotted && cookie.host_only())
                && matching::canonical_host(domain).as_deref() == Some(cookie.domain())
        });
        name && path && domain
    }
}
