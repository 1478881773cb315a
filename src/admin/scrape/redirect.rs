//! Where a redirect leads, by the rules of the Fetch standard (HTTP-redirect fetch).

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, COOKIE,
    HeaderMap, HeaderName, LOCATION,
};
use http::{Method, StatusCode, Uri};
use url::{Position, Url};

use super::page::field_text;

/// One request on the way to a page.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    /// Where to, with its fragment.
    pub(super) url: Url,
    /// The same as a request target.
    pub(super) uri: Uri,
    pub(super) method: Method,
    /// What the caller set.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Hop {
    /// The request that a response asks for; `None` where it is the answer itself, as a redirect is that leads nowhere
    /// or away from http.
    pub(super) fn after(&self, status: StatusCode, fields: &HeaderMap) -> Option<Self> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let mut url = self.url.join(&field_text(fields.get(LOCATION)?)).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        if url.fragment().is_none() {
            url.set_fragment(self.url.fragment());
        }
        // Nobody asked for these; a browser sends them only when challenged. Of an http URL both can be set.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let uri = uri(&url)?;
        let to_get = match status.as_u16() {
            301 | 302 => self.method == Method::POST,
            303 => !matches!(self.method, Method::GET | Method::HEAD),
            _ => false,
        };
        let away = url.origin() != self.url.origin();
        let dropped = |name: &HeaderName| {
            to_get && OF_BODY.contains(name) || away && OF_ORIGIN.contains(name)
        };
        // Rebuilt, as `HeaderMap::remove` would change the order.
        let headers = self
            .headers
            .iter()
            .filter(|(name, _)| !dropped(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Some(Self {
            url,
            uri,
            method: if to_get {
                Method::GET
            } else {
                self.method.clone()
            },
            headers,
            body: if to_get {
                Bytes::new()
            } else {
                self.body.clone()
            },
        })
    }
}

/// The request target of a URL in absolute form; `None` where hyper takes it for none.
pub(super) fn uri(url: &Url) -> Option<Uri> {
    url[..Position::AfterQuery].parse().ok()
}

/// What describes a body, dropped with it.
const OF_BODY: [HeaderName; 4] = [
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    CONTENT_TYPE,
];
/// What was meant for one origin; the session's own cookies are chosen anew for each.
const OF_ORIGIN: [HeaderName; 2] = [AUTHORIZATION, COOKIE];

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn hop(method: Method) -> Hop {
        let url = Url::parse("https://shop.example/a/b?q=1#part").unwrap();
        let names = [
            "authorization",
            "accept",
            "content-type",
            "cookie",
            "x-mine",
        ];
        Hop {
            uri: uri(&url).unwrap(),
            url,
            method,
            headers: names
                .iter()
                .map(|name| (name.parse().unwrap(), HeaderValue::from_static("v")))
                .collect(),
            body: Bytes::from_static(b"data"),
        }
    }

    fn after(method: Method, status: u16, location: &str) -> Option<Hop> {
        let location = HeaderValue::from_bytes(location.as_bytes()).unwrap();
        hop(method).after(
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::from_iter([(LOCATION, location)]),
        )
    }

    #[test]
    fn the_method_is_kept_or_becomes_get_as_the_status_says() {
        for (status, method, wanted) in [
            (301, "POST", "GET"),
            (302, "POST", "GET"),
            (303, "POST", "GET"),
            (307, "POST", "POST"),
            (308, "POST", "POST"),
            (301, "PUT", "PUT"),
            (302, "DELETE", "DELETE"),
            (303, "PUT", "GET"),
            (303, "HEAD", "HEAD"),
            (303, "GET", "GET"),
            (302, "HEAD", "HEAD"),
        ] {
            let next = after(method.parse().unwrap(), status, "/end").unwrap();
            assert_eq!(next.method.as_str(), wanted, "{status} {method}");
            let kept = wanted == method;
            assert_eq!(next.body.is_empty(), !kept, "{status} {method}");
            assert_eq!(
                next.headers.contains_key(CONTENT_TYPE),
                kept,
                "{status} {method}"
            );
        }
    }

    #[test]
    fn the_location_is_resolved_and_keeps_the_fragment() {
        for (location, wanted) in [
            ("/end", "https://shop.example/end#part"),
            ("c?d", "https://shop.example/a/c?d#part"),
            ("?r", "https://shop.example/a/b?r#part"),
            ("#other", "https://shop.example/a/b?q=1#other"),
            ("//bank.example", "https://bank.example/#part"),
            ("HTTP://Bank.example:80/x#y", "http://bank.example/x#y"),
            ("https://u:p@bank.example/", "https://bank.example/#part"),
            ("/gr\u{fc}n", "https://shop.example/gr%C3%BCn#part"),
            ("", "https://shop.example/a/b?q=1#part"),
        ] {
            assert_eq!(
                after(Method::GET, 302, location).unwrap().url.as_str(),
                wanted,
                "{location}"
            );
        }
    }

    #[test]
    fn what_leads_nowhere_is_the_answer() {
        for (status, location) in [
            (302, "mailto:a@b.example"),
            (302, "app://open"),
            (302, "http://[x"),
            (300, "/x"),
            (304, "/x"),
            (305, "/x"),
            (200, "/x"),
        ] {
            assert!(
                after(Method::GET, status, location).is_none(),
                "{status} {location}"
            );
        }
        assert!(
            hop(Method::GET)
                .after(StatusCode::FOUND, &HeaderMap::new())
                .is_none(),
            "no Location"
        );
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        for (location, kept) in [
            ("/end", true),
            ("https://shop.example:443/", true),
            ("http://shop.example/", false),
            ("https://shop.example:8443/", false),
            ("https://www.shop.example/", false),
        ] {
            let next = after(Method::GET, 307, location).unwrap();
            let names: Vec<&str> = next.headers.keys().map(HeaderName::as_str).collect();
            let wanted: &[&str] = match kept {
                true => &[
                    "authorization",
                    "accept",
                    "content-type",
                    "cookie",
                    "x-mine",
                ],
                false => &["accept", "content-type", "x-mine"],
            };
            assert_eq!(names, wanted, "{location}");
        }
    }

    proptest! {
        #[test]
        fn any_location_is_followed_or_not(location in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(location) = HeaderValue::from_bytes(&location) {
                let next = hop(Method::GET).after(StatusCode::FOUND, &HeaderMap::from_iter([(LOCATION, location)]));
                prop_assert!(next.is_none_or(|next| next.uri.authority().is_some()));
            }
        }
    }
}
