//! The errors that burdock itself answers with: one enum, one table (INTERFACE.md, section 5).

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::message::fields::{PROXY_STATUS, X_SESSION_ID};
use crate::session::id::SessionId;

/// What went wrong, in the words of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An unparsable or ambiguous request, or an invalid session id.
    BadRequest,
    /// No session named where one is required.
    SessionRequired,
    /// The session is not known and is not created.
    UnknownSession,
    /// The proxy token is missing or wrong.
    ProxyAuthRequired,
    /// The egress policy forbids the destination.
    DestinationDenied,
    /// The session's limit.
    RateLimited,
    /// The request's head is larger than `proxy.max_header_bytes`.
    HeadersTooLarge,
    /// A defect of burdock.
    Internal,
    /// The host has no address.
    DnsFailed,
    /// No connection to the destination.
    ConnectFailed,
    /// TLS with the origin failed.
    UpstreamTls,
    /// The origin broke HTTP or closed before its response.
    UpstreamProtocol,
    /// The session's store cannot be reached.
    StoreUnavailable,
    /// `sessions.max_active_sessions` is reached.
    TooManySessions,
    /// The page needs a browser and there is none.
    BrowserUnavailable,
    /// No connection within `upstream.connect_timeout`.
    ConnectTimeout,
    /// No response head within `upstream.response_header_timeout`.
    UpstreamTimeout,
    /// The render took longer than it may.
    BrowserTimeout,
    /// The Host of a request is not its tunnel's.
    Misdirected,
    /// The destination is burdock itself.
    LoopDetected,
}

/// A row of the table: name, status, `Proxy-Status` error type, title.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kind this row is about.
    pub kind: Kind,
    /// NAME in `urn:burdock:error:NAME`.
    pub name: &'static str,
    /// The status code of the response.
    pub status: StatusCode,
    /// The error type of RFC 9209, section 2.3.
    pub proxy_error: &'static str,
    /// The `title` of the problem document.
    pub title: &'static str,
}

/// Every fault there is, row by row.
pub const TABLE: [Row; 20] = {
    const fn row(
        kind: Kind,
        name: &'static str,
        status: StatusCode,
        proxy_error: &'static str,
        title: &'static str,
    ) -> Row {
        Row {
            kind,
            name,
            status,
            proxy_error,
            title,
        }
    }
    use StatusCode as S;
    [
        row(
            Kind::BadRequest,
            "bad-request",
            S::BAD_REQUEST,
            "http_request_error",
            "The request cannot be understood",
        ),
        row(
            Kind::SessionRequired,
            "session-required",
            S::BAD_REQUEST,
            "http_request_error",
            "The request names no session",
        ),
        row(
            Kind::UnknownSession,
            "unknown-session",
            S::NOT_FOUND,
            "http_request_error",
            "There is no such session",
        ),
        row(
            Kind::ProxyAuthRequired,
            "proxy-auth-required",
            S::PROXY_AUTHENTICATION_REQUIRED,
            "http_request_denied",
            "The proxy token is missing or wrong",
        ),
        row(
            Kind::DestinationDenied,
            "destination-denied",
            S::FORBIDDEN,
            "destination_ip_prohibited",
            "The destination is not allowed",
        ),
        row(
            Kind::RateLimited,
            "rate-limited",
            S::TOO_MANY_REQUESTS,
            "http_request_denied",
            "The session's limit is reached",
        ),
        row(
            Kind::HeadersTooLarge,
            "headers-too-large",
            S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "http_request_error",
            "The request's head is too large",
        ),
        row(
            Kind::Internal,
            "internal",
            S::INTERNAL_SERVER_ERROR,
            "proxy_internal_error",
            "A defect of burdock",
        ),
        row(
            Kind::DnsFailed,
            "dns-failed",
            S::BAD_GATEWAY,
            "dns_error",
            "The host's address cannot be found",
        ),
        row(
            Kind::ConnectFailed,
            "connect-failed",
            S::BAD_GATEWAY,
            "connection_refused",
            "The destination cannot be reached",
        ),
        row(
            Kind::UpstreamTls,
            "upstream-tls",
            S::BAD_GATEWAY,
            "tls_protocol_error",
            "TLS with the origin failed",
        ),
        row(
            Kind::UpstreamProtocol,
            "upstream-protocol",
            S::BAD_GATEWAY,
            "http_protocol_error",
            "The origin's response cannot be understood",
        ),
        row(
            Kind::StoreUnavailable,
            "store-unavailable",
            S::SERVICE_UNAVAILABLE,
            "proxy_internal_error",
            "The session's store is not available",
        ),
        row(
            Kind::TooManySessions,
            "too-many-sessions",
            S::SERVICE_UNAVAILABLE,
            "http_request_denied",
            "There are too many sessions",
        ),
        row(
            Kind::BrowserUnavailable,
            "browser-unavailable",
            S::SERVICE_UNAVAILABLE,
            "proxy_internal_error",
            "There is no browser to render the page",
        ),
        row(
            Kind::ConnectTimeout,
            "connect-timeout",
            S::GATEWAY_TIMEOUT,
            "connection_timeout",
            "The destination did not accept in time",
        ),
        row(
            Kind::UpstreamTimeout,
            "upstream-timeout",
            S::GATEWAY_TIMEOUT,
            "http_response_timeout",
            "The origin did not answer in time",
        ),
        row(
            Kind::BrowserTimeout,
            "browser-timeout",
            S::GATEWAY_TIMEOUT,
            "http_response_timeout",
            "The page did not render in time",
        ),
        row(
            Kind::Misdirected,
            "misdirected",
            S::MISDIRECTED_REQUEST,
            "http_request_error",
            "The request is for another host than its tunnel",
        ),
        row(
            Kind::LoopDetected,
            "loop-detected",
            S::LOOP_DETECTED,
            "proxy_loop_detected",
            "The destination is burdock itself",
        ),
    ]
};

impl Kind {
    /// This kind's row of the table.
    pub fn row(self) -> &'static Row {
        TABLE
            .iter()
            .find(|row| row.kind == self)
            .expect("TABLE has a row for every kind; a test walks them")
    }
}

/// An error that burdock answers with, and what its reader must know to act.
#[derive(Debug)]
pub struct Fault {
    kind: Kind,
    detail: Cow<'static, str>,
    proxy_error: Option<&'static str>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault of `kind`; `detail` says what, and the remedy where there is one.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            proxy_error: None,
            retry_after: None,
            source: None,
        }
    }

    /// The error that caused it; for the log, never for the response.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A more telling `Proxy-Status` error type than the kind's own (RFC 9209, section 2.3).
    #[must_use]
    pub fn proxy_error(mut self, token: &'static str) -> Self {
        self.proxy_error = Some(token);
        self
    }

    /// When to try again; sent in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The problem document (RFC 9457) for a request of this session.
    pub fn problem(&self, session: Option<&SessionId>) -> serde_json::Value {
        let row = self.kind.row();
        let mut problem = serde_json::json!({
            "type": format!("urn:burdock:error:{}", row.name),
            "title": row.title,
            "status": row.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(session) = session {
            problem["sessionId"] = session.as_str().into();
        }
        problem
    }

    /// The documented response: status, `Proxy-Status`, `Retry-After` and the problem document.
    pub fn response(&self, session: Option<&SessionId>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.problem(session).to_string()));
        *response.status_mut() = self.kind.row().status;
        let fields = response.headers_mut();
        fields.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        self.add_fields(fields);
        if let Some(session) = session {
            let session = HeaderValue::from_str(session.as_str()).expect("an id is visible ASCII");
            fields.insert(X_SESSION_ID, session);
        }
        response
    }

    fn add_fields(&self, fields: &mut HeaderMap) {
        let token = self.proxy_error.unwrap_or(self.kind.row().proxy_error);
        let status = format!(
            "burdock; error={token}; details={}",
            sf_string(&self.detail)
        );
        fields.insert(
            PROXY_STATUS,
            HeaderValue::try_from(status).expect("an sf-string is visible ASCII"),
        );
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            fields.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.kind == Kind::ProxyAuthRequired {
            fields.insert(
                http::header::PROXY_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"burdock\", charset=\"UTF-8\""),
            );
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.row().name, self.detail)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A string of structured fields (RFC 9651, section 3.3.3): visible ASCII, `"` and `\` escaped.
fn sf_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for symbol in text.chars() {
        match symbol {
            '"' | '\\' => out.extend(['\\', symbol]),
            ' '..='~' => out.push(symbol),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_row_answers_as_it_says() {
        for row in TABLE {
            assert_eq!(row.kind.row().name, row.name);
            let response = Fault::new(row.kind, "why \"it\" is so").response(None);
            assert_eq!(response.status(), row.status, "{}", row.name);
            assert_eq!(
                response.headers()[PROXY_STATUS],
                format!(
                    "burdock; error={}; details=\"why \\\"it\\\" is so\"",
                    row.proxy_error
                ),
            );
            let problem: serde_json::Value =
                serde_json::from_slice(response.body()).expect("the body is JSON");
            assert_eq!(problem["type"], format!("urn:burdock:error:{}", row.name));
            assert_eq!(problem["status"], row.status.as_u16());
        }
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        for (millis, wanted) in [(1, "1"), (0, "1"), (1000, "1"), (1001, "2")] {
            let fault =
                Fault::new(Kind::RateLimited, "").retry_after(Duration::from_millis(millis));
            assert_eq!(fault.response(None).headers()[RETRY_AFTER], wanted);
        }
    }

    proptest! {
        #[test]
        fn any_detail_makes_a_response(detail in "\\PC*") {
            let fault = Fault::new(Kind::Internal, detail);
            prop_assert!(fault.response(None).headers()[PROXY_STATUS].to_str().is_ok());
        }
    }
}
