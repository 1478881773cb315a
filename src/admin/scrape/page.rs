//! What `POST /api/scrape` answers: the page, its fields, and how it was come by.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, SET_COOKIE};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::message::fields::{X_BURDOCK_ROUTE, X_SESSION_ID};

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<'a> {
    pub(super) url: &'a str,
    pub(super) final_url: &'a str,
    pub(super) status: u16,
    pub(super) headers: Map<String, Value>,
    pub(super) route: String,
    pub(super) content_type: Option<String>,
    pub(super) body: Cow<'a, str>,
    pub(super) body_encoding: &'static str,
    pub(super) session_id: Option<String>,
    pub(super) timings: Timings,
    /// In base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) screenshot: Option<String>,
}

/// How long it took, in milliseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Timings {
    pub(super) total_ms: u64,
    /// The redirects that were followed, each with the time until its response had come.
    pub(super) redirects: Vec<Followed>,
}

/// A redirect that was followed.
#[derive(Debug, Serialize)]
pub(super) struct Followed {
    /// Where it came from.
    pub(super) url: String,
    pub(super) status: u16,
    pub(super) ms: u64,
}

/// A field's value as text: UTF-8 where it is that, else Latin-1, as browsers read it.
pub(super) fn field_text(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value
            .as_bytes()
            .iter()
            .map(|byte| char::from(*byte))
            .collect(),
    }
}

/// The origin's fields: lower-case names, repeated ones joined with `, `, and `set-cookie` by line, as Playwright does.
pub(super) fn fields_object(fields: &HeaderMap) -> Map<String, Value> {
    let of_origin = fields
        .keys()
        .filter(|name| **name != X_SESSION_ID && **name != X_BURDOCK_ROUTE);
    of_origin
        .map(|name| {
            let values: Vec<String> = fields.get_all(name).iter().map(field_text).collect();
            let separator = if *name == SET_COOKIE { "\n" } else { ", " };
            (name.as_str().to_owned(), values.join(separator).into())
        })
        .collect()
}

/// The body as a JSON string, and how to read that: text where the bytes are UTF-8 and nothing says that they mean
/// something else, base64 of the bytes as they came in every other case, compressed ones and other charsets included.
pub(super) fn encode<'a>(bytes: &'a [u8], fields: &HeaderMap) -> (Cow<'a, str>, &'static str) {
    let coded = fields
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let charset = fields
        .get(CONTENT_TYPE)
        .map(field_text)
        .and_then(|kind| charset(&kind).map(str::to_ascii_lowercase));
    let utf8 = matches!(
        charset.as_deref(),
        None | Some("utf-8" | "utf8" | "us-ascii" | "ascii")
    );
    match std::str::from_utf8(bytes) {
        Ok(text) if utf8 && !coded => (Cow::Borrowed(text), "utf8"),
        _ => (Cow::Owned(BASE64_STANDARD.encode(bytes)), "base64"),
    }
}

/// The `charset` parameter of a media type (RFC 9110, section 8.3.2).
fn charset(kind: &str) -> Option<&str> {
    kind.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use serde_json::json;

    use super::*;

    fn fields(lines: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        fields
    }

    #[test]
    fn fields_are_an_object_of_strings() {
        let object = fields_object(&fields(&[
            ("x-a", b"1"),
            ("set-cookie", b"a=1"),
            ("x-a", b"2"),
            ("set-cookie", b"b=2"),
            ("x-latin", b"gr\xfcn"),
            ("x-utf8", "gr\u{fc}n".as_bytes()),
            ("x-session-id", b"a"),
            ("x-burdock-route", b"http"),
        ]));
        let wanted = json!({"x-a": "1, 2", "set-cookie": "a=1\nb=2", "x-latin": "gr\u{fc}n", "x-utf8": "gr\u{fc}n"});
        assert_eq!(Value::Object(object), wanted);
    }

    #[test]
    fn a_body_is_text_only_where_it_surely_is() {
        let kind = "content-type";
        for (lines, bytes, wanted) in [
            (&[][..], &b"plain"[..], "utf8"),
            (&[], b"", "utf8"),
            (&[], b"\xff\xfe", "base64"),
            (
                &[(kind, &b"text/html; charset=UTF-8"[..])],
                "gr\u{fc}n".as_bytes(),
                "utf8",
            ),
            (&[(kind, b"text/html;x=1; Charset=\"utf-8\"")], b"a", "utf8"),
            (&[(kind, b"text/html; charset=utf-8")], b"gr\xfcn", "base64"),
            (
                &[(kind, b"text/html; charset=iso-8859-1")],
                b"gr\xfcn",
                "base64",
            ),
            (&[(kind, b"text/html; charset=utf-16le")], b"a\0", "base64"),
            (&[("content-encoding", b"gzip")], b"abc", "base64"),
            (&[("content-encoding", b"identity")], b"abc", "utf8"),
        ] {
            let (body, encoding) = encode(bytes, &fields(lines));
            assert_eq!(encoding, wanted, "{lines:?} {}", bytes.escape_ascii());
            let back = match encoding {
                "utf8" => body.as_bytes().to_vec(),
                _ => BASE64_STANDARD.decode(&*body).unwrap(),
            };
            assert_eq!(back, bytes);
        }
    }
}
