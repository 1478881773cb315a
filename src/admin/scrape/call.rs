//! What `POST /api/scrape` is asked for, checked field by field.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use serde_json::Value;
use url::Url;

use super::redirect::{Hop, uri};
use crate::admin::json::Object;
use crate::admin::problem::Problem;
use crate::browser::{Shot, ShotFormat};
use crate::exchange::parse_wait;
use crate::message::fields::{X_BURDOCK_RENDER, X_BURDOCK_WAIT};
use crate::session::settings::GivenNames;

/// A call, ready to be made.
#[derive(Debug)]
pub(super) struct Call {
    /// `url` as it was given.
    pub(super) url: String,
    /// The first request.
    pub(super) hop: Hop,
    /// A picture of the page.
    pub(super) shot: Option<Shot>,
    /// How long all of it may take; a page that is rendered is taken as it is then.
    pub(super) timeout: Duration,
}

impl Call {
    /// # Errors
    /// `invalid`, naming the field.
    pub(super) fn read(mut object: Object) -> Result<Self, Problem> {
        let Some(given) = object.take_text("url")? else {
            return Err(Problem::invalid("url", "is missing"));
        };
        let (url, uri) = read_url(&given)?;
        let method = read_method(object.take_text("method")?.as_deref())?;
        let mut headers = read_headers(object.take("headers"))?;
        let body = object.take_text("body")?;
        if body.is_some() && matches!(method, Method::GET | Method::HEAD) {
            return Err(Problem::invalid(
                "body",
                format!("cannot go with `{method}`: name another `method`"),
            ));
        }
        let render = read_render(object.take_text("render")?)?;
        let wait = object.take_text("wait")?.map(read_wait).transpose()?;
        let screenshot = read_screenshot(object.take("screenshot"))?;
        let timeout = read_timeout(object.take("timeoutMs"))?;
        object.end()?;

        let render = match (screenshot, render) {
            (None, render) => render,
            (Some(_), Some(render)) if render != "browser" => {
                return Err(Problem::invalid(
                    "screenshot",
                    format!("needs a browser, and `render` is `{render}`"),
                ));
            }
            (Some(_), _) if method != Method::GET => {
                return Err(Problem::invalid(
                    "screenshot",
                    "needs the method `GET`, the only one that is rendered",
                ));
            }
            (Some(_), _) => Some("browser"),
        };
        if let Some(render) = render {
            headers.insert(X_BURDOCK_RENDER, HeaderValue::from_static(render));
        }
        if let Some(wait) = wait {
            headers.insert(X_BURDOCK_WAIT, wait);
        }
        Ok(Self {
            url: given,
            shot: screenshot,
            hop: Hop {
                url,
                uri,
                method,
                headers,
                body: body.map(Bytes::from).unwrap_or_default(),
            },
            timeout,
        })
    }
}

fn read_url(text: &str) -> Result<(Url, Uri), Problem> {
    let invalid = |reason: &str| Problem::invalid("url", reason);
    let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("must be an http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "must not hold credentials: use the field `Authorization` in `headers`",
        ));
    }
    let uri = uri(&url).ok_or_else(|| invalid("cannot be a request target"))?;
    Ok((url, uri))
}

/// `GET` by default; the usual methods in any case, as in the Fetch standard.
fn read_method(text: Option<&str>) -> Result<Method, Problem> {
    const USUAL: [Method; 6] = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ];
    let Some(text) = text else {
        return Ok(Method::GET);
    };
    if let Some(method) = USUAL
        .iter()
        .find(|method| method.as_str().eq_ignore_ascii_case(text))
    {
        return Ok(method.clone());
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) => {
            Err(Problem::invalid("method", "cannot be scraped with"))
        }
        Ok(method) => Ok(method),
        Err(_) => Err(Problem::invalid("method", "is not a token")),
    }
}

fn read_headers(value: Option<Value>) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    let members = match value {
        None => return Ok(headers),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(Problem::invalid("headers", "must be an object of strings")),
    };
    if members.len() > MAX_HEADERS {
        return Err(Problem::invalid(
            "headers",
            format!("must not have more than {MAX_HEADERS} fields"),
        ));
    }
    let mut names = GivenNames::default();
    for (name, value) in members {
        let invalid = |reason| Err(Problem::invalid(format!("headers.{name}"), reason));
        let field = match names.read(&name) {
            Ok(field) => field,
            Err(reason) => return invalid(reason),
        };
        if is_reserved(&field) {
            return invalid("belongs to the connection or to burdock and cannot be set");
        }
        let Value::String(text) = value else {
            return invalid("must be a string");
        };
        let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else {
            return invalid("is not a field value");
        };
        headers.insert(field, value);
    }
    Ok(headers)
}

/// Fields of the connection and of the message's framing, and those that speak to burdock.
fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    RESERVED.contains(&name) || name.starts_with("proxy-") || name.starts_with("x-burdock-")
}

fn read_render(text: Option<String>) -> Result<Option<&'static str>, Problem> {
    match text.as_deref() {
        None => Ok(None),
        Some("http") => Ok(Some("http")),
        Some("browser") => Ok(Some("browser")),
        Some("auto") => Ok(Some("auto")),
        Some(_) => Err(Problem::invalid(
            "render",
            "must be `http`, `browser` or `auto`",
        )),
    }
}

fn read_wait(text: String) -> Result<HeaderValue, Problem> {
    let known = parse_wait(text.as_bytes()).is_some();
    HeaderValue::try_from(text)
        .ok()
        .filter(|_| known)
        .ok_or_else(|| {
            Problem::invalid(
                "wait",
                "must be `domcontentloaded`, `load`, `networkidle`, `selector:CSS` or `ms:N`",
            )
        })
}

/// `true`, or an object of `fullPage` and `format`.
fn read_screenshot(value: Option<Value>) -> Result<Option<Shot>, Problem> {
    let mut shot = Shot {
        full_page: false,
        format: ShotFormat::Png,
    };
    let options = match value {
        None | Some(Value::Bool(false)) => return Ok(None),
        Some(Value::Bool(true)) => return Ok(Some(shot)),
        Some(Value::Object(options)) => options,
        Some(_) => {
            let reason = "must be true, false or an object";
            return Err(Problem::invalid("screenshot", reason));
        }
    };
    for (name, value) in options {
        match (name.as_str(), &value) {
            (_, Value::Null) => {}
            ("fullPage", Value::Bool(full_page)) => shot.full_page = *full_page,
            ("fullPage", _) => {
                return Err(Problem::invalid(
                    "screenshot.fullPage",
                    "must be true or false",
                ));
            }
            ("format", Value::String(format)) if format == "png" => shot.format = ShotFormat::Png,
            ("format", Value::String(format)) if format == "jpeg" => shot.format = ShotFormat::Jpeg,
            ("format", Value::String(format)) if format == "webp" => shot.format = ShotFormat::Webp,
            ("format", _) => {
                let reason = "must be `png`, `jpeg` or `webp`";
                return Err(Problem::invalid("screenshot.format", reason));
            }
            _ => {
                return Err(Problem::invalid(
                    format!("screenshot.{name}"),
                    "is not a known field",
                ));
            }
        }
    }
    Ok(Some(shot))
}

fn read_timeout(value: Option<Value>) -> Result<Duration, Problem> {
    let Some(value) = value else {
        return Ok(DEFAULT_TIMEOUT);
    };
    match value.as_u64() {
        Some(millis) if (1..=MAX_TIMEOUT_MS).contains(&millis) => Ok(Duration::from_millis(millis)),
        _ => Err(Problem::invalid(
            "timeoutMs",
            format!("must be an integer from 1 to {MAX_TIMEOUT_MS}"),
        )),
    }
}

const RESERVED: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-proxy-token",
    "x-session-id",
];

/// As many as the proxy port takes of a client.
const MAX_HEADERS: usize = 512;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_TIMEOUT_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Call, Problem> {
        Call::read(Object::of(value).unwrap())
    }

    #[test]
    fn a_url_alone_is_a_get() {
        let call =
            read(json!({"url": "HTTPS://Shop.Example/a b?q=%20#part", "body": null})).unwrap();
        assert_eq!(call.url, "HTTPS://Shop.Example/a b?q=%20#part");
        assert_eq!(call.hop.uri, "https://shop.example/a%20b?q=%20");
        assert_eq!(
            (call.hop.method, call.hop.headers.len(), call.hop.body.len()),
            (Method::GET, 0, 0)
        );
        assert_eq!(call.timeout, Duration::from_secs(60));
    }

    #[test]
    fn all_that_is_given_is_in_the_request() {
        let call = read(json!({
            "url": "http://[::1]:8000", "method": "post", "headers": {"X-B": "1", "x-a": "", "Cookie": "c=1"},
            "body": "data", "render": "http", "wait": "ms:100", "screenshot": false, "timeoutMs": 1,
        }))
        .unwrap();
        assert_eq!(call.hop.uri, "http://[::1]:8000/");
        assert_eq!(
            (call.hop.method, &call.hop.body[..]),
            (Method::POST, &b"data"[..])
        );
        let names: Vec<&str> = call.hop.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(
            names,
            ["x-b", "x-a", "cookie", "x-burdock-render", "x-burdock-wait"]
        );
        let own = read(json!({"url": "http://a.example", "method": "PURGE"})).unwrap();
        assert_eq!(own.hop.method.as_str(), "PURGE");
    }

    #[test]
    fn a_screenshot_asks_for_the_browser() {
        let call =
            read(json!({"url": "http://a.example", "screenshot": {"format": "jpeg"}})).unwrap();
        assert_eq!(call.hop.headers[X_BURDOCK_RENDER], "browser");
        let shot = Shot {
            full_page: false,
            format: ShotFormat::Jpeg,
        };
        assert_eq!(call.shot, Some(shot));
    }

    #[test]
    fn errors_name_the_field() {
        for (change, field) in [
            (json!({"url": null}), "url"),
            (json!({"url": "not a url"}), "url"),
            (json!({"url": "ftp://x/"}), "url"),
            (json!({"url": "http://u@x.example/"}), "url"),
            (json!({"url": "http://:p@x.example/"}), "url"),
            (json!({"method": "A B"}), "method"),
            (json!({"method": "connect\r\n"}), "method"),
            (json!({"method": "CONNECT"}), "method"),
            (json!({"method": ""}), "method"),
            (json!({"headers": []}), "headers"),
            (json!({"headers": {"a b": "1"}}), "headers.a b"),
            (json!({"headers": {"a": 1}}), "headers.a"),
            (json!({"headers": {"a": "1\r\nb: 2"}}), "headers.a"),
            (json!({"headers": {"a": "1", "A": "2"}}), "headers.A"),
            (json!({"headers": {"Host": "x"}}), "headers.Host"),
            (
                json!({"headers": {"Proxy-Authorization": "x"}}),
                "headers.Proxy-Authorization",
            ),
            (
                json!({"headers": {"X-Session-ID": "x"}}),
                "headers.X-Session-ID",
            ),
            (
                json!({"headers": {"X-Burdock-Render": "http"}}),
                "headers.X-Burdock-Render",
            ),
            (json!({"body": "x"}), "body"),
            (json!({"body": {}, "method": "POST"}), "body"),
            (json!({"render": "paint"}), "render"),
            (json!({"wait": "forever"}), "wait"),
            (json!({"wait": "ms:soon"}), "wait"),
            (json!({"wait": "selector:"}), "wait"),
            (json!({"wait": "selector:a\nb"}), "wait"),
            (json!({"screenshot": "yes"}), "screenshot"),
            (
                json!({"screenshot": {"fullPage": 1}}),
                "screenshot.fullPage",
            ),
            (
                json!({"screenshot": {"format": "gif"}}),
                "screenshot.format",
            ),
            (json!({"screenshot": {"colour": 1}}), "screenshot.colour"),
            (json!({"screenshot": true, "render": "http"}), "screenshot"),
            (json!({"screenshot": true, "method": "POST"}), "screenshot"),
            (json!({"timeoutMs": 0}), "timeoutMs"),
            (json!({"timeoutMs": 600_001}), "timeoutMs"),
            (json!({"timeoutMs": "60"}), "timeoutMs"),
            (json!({"colour": 1}), "colour"),
        ] {
            let mut call = json!({"url": "http://a.example/"});
            call.as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
            let problem = read(call).expect_err(field);
            assert_eq!(
                (problem.name(), problem.field()),
                ("invalid", Some(field)),
                "{change}"
            );
        }
    }
}
