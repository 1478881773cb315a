//! A document that is to be rendered, and what became of it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::options::Wait;

/// A document as its origin sent it.
#[derive(Debug)]
pub struct Document {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, `Content-Encoding` and `Set-Cookie` included, without those of its framing.
    pub fields: HeaderMap,
    /// Its body, coded as the fields say.
    pub body: Bytes,
}

impl Document {
    /// As the browser is given it, so that it takes this one and opens it.
    pub(super) fn for_browser(&self) -> Self {
        let mut fields = self.fields.clone();
        // From its cache the browser would show the last one at the same URL, and leave this one on offer.
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut body = self.body.clone();
        if body.is_empty() && !self.status.is_success() {
            // Of an error without a word Chromium makes a page of its own.
            body = Bytes::from_static(b"\n");
            fields = fields
                .iter()
                .filter(|(name, _)| *name != CONTENT_ENCODING)
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
        }
        Self {
            status: self.status,
            fields,
            body,
        }
    }
}

/// What is asked of a page.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Where to navigate to, with a fragment where the client gave one.
    pub url: Url,
    /// What the origin answered there.
    pub document: Arc<Document>,
    /// What to wait for; none: as configured.
    pub wait: Option<Wait>,
    /// A picture to take at the end.
    pub shot: Option<Shot>,
    /// When the page is taken as it is.
    pub deadline: Instant,
}

/// A picture of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shot {
    /// The whole page rather than the viewport.
    pub full_page: bool,
    /// How it is coded.
    pub format: ShotFormat,
}

/// How a picture is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShotFormat {
    /// `image/png`
    Png,
    /// `image/jpeg`
    Jpeg,
    /// `image/webp`
    Webp,
}

/// A page after its scripts ran; what it changed of the session has been acknowledged by the session's store.
#[derive(Debug)]
pub struct Rendered {
    /// Its doctype and serialized DOM.
    pub html: String,
    /// Where it is, which a script may have changed.
    pub url: Url,
    /// Status and fields of the document that it is, where a script navigated to another one.
    pub later: Option<(StatusCode, HeaderMap)>,
    /// Whether the deadline came before what was waited for.
    pub partial: bool,
    /// The picture that was asked for.
    pub shot: Option<Bytes>,
}
