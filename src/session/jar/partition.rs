//! Under which top-level site a `Partitioned` cookie lives.

use serde::{Deserialize, Serialize};

use super::matching;

/// The top-level site under which a `Partitioned` cookie lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionKey {
    /// Scheme and registrable domain (or host, where there is none), such as `https://example.com`.
    pub top_level_site: Box<str>,
    /// Whether a frame of another site lies between the cookie's frame and the top.
    pub cross_site_ancestor: bool,
}

impl PartitionKey {
    /// The key for the site of `url`, an `http` or `https` URL; none if it is no such URL.
    #[must_use]
    pub fn new(url: &str, cross_site_ancestor: bool) -> Option<Self> {
        let url = url::Url::parse(url).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        // A URL may have a host such as `.` or `a..`, which no site has.
        let host = matching::canonical_host(url.host_str()?)?;
        let top_level_site = format!("{}://{}", url.scheme(), matching::site(&host)).into();
        Some(Self {
            top_level_site,
            cross_site_ancestor,
        })
    }

    /// The key of what a request to `site` sets when it is the top-level document itself.
    pub(super) fn first_party(secure: bool, site: &str) -> Self {
        let scheme = scheme(secure);
        Self {
            top_level_site: format!("{scheme}{site}").into(),
            cross_site_ancestor: false,
        }
    }

    /// Whether this is [`Self::first_party`] of the same arguments.
    pub(super) fn is_first_party(&self, secure: bool, site: &str) -> bool {
        !self.cross_site_ancestor && self.top_level_site.strip_prefix(scheme(secure)) == Some(site)
    }
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https://" } else { "http://" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_by_its_site() {
        let site = |url| PartitionKey::new(url, false).map(|key| key.top_level_site.to_string());
        assert_eq!(
            site("https://www.shop.co.uk:8443/a?b"),
            Some("https://shop.co.uk".to_owned())
        );
        assert_eq!(
            site("http://127.0.0.1:80/"),
            Some("http://127.0.0.1".to_owned())
        );
        assert_eq!(
            site("https://github.io"),
            Some("https://github.io".to_owned())
        );
        assert_eq!(
            site("https://shop.example."),
            Some("https://shop.example".to_owned())
        );
        for url in ["https://./", "https://a../", "https://../"] {
            assert_eq!(site(url), None, "{url}");
        }
        assert_eq!(site("ftp://a.example"), None);
        assert_eq!(site("a.example"), None);
    }
}
