//! Errors of the admin API as problem documents (RFC 9457), with the names of INTERFACE.md, section 5.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode, Uri};
use serde_json::{Value, json};

use crate::adapters::StoreError;
use crate::fault::{Fault, Kind};
use crate::message::fields::X_SESSION_ID;
use crate::registry::RegistryError;
use crate::session::id::SessionId;
use crate::session::settings::InvalidField;

/// What a call of the admin API is refused with.
#[derive(Debug)]
pub(super) enum Problem {
    /// An error that only the admin API has.
    Own(Own),
    /// One that the proxy has as well.
    Fault {
        fault: Fault,
        session: Option<SessionId>,
    },
    /// A fault that the exchange has made its response of already.
    Answered(Box<Response>),
}

/// An error that only the admin API has.
#[derive(Debug)]
pub(super) struct Own {
    name: Name,
    detail: Cow<'static, str>,
    field: Option<String>,
    session: Option<SessionId>,
}

/// What is wrong, in the words of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Invalid,
    /// `invalid`, for a body that is larger than it may be.
    TooLarge,
    /// `invalid`, for a body that did not arrive in time.
    TooSlow,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    PreconditionFailed,
    UnsupportedMediaType,
}

impl Name {
    /// NAME in `urn:burdock:error:NAME`, the status code, and the title.
    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Invalid => ("invalid", S::BAD_REQUEST, "The call is not valid"),
            Self::TooLarge => ("invalid", S::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::TooSlow => (
                "invalid",
                S::REQUEST_TIMEOUT,
                "The body did not arrive in time",
            ),
            Self::Unauthorized => (
                "unauthorized",
                S::UNAUTHORIZED,
                "The admin token is missing or wrong",
            ),
            Self::Forbidden => (
                "forbidden",
                S::FORBIDDEN,
                "The call comes from where none may",
            ),
            Self::NotFound => ("not-found", S::NOT_FOUND, "There is no such thing"),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                S::METHOD_NOT_ALLOWED,
                "The method is not allowed here",
            ),
            Self::Conflict => ("conflict", S::CONFLICT, "There is one already"),
            Self::PreconditionFailed => (
                "precondition-failed",
                S::PRECONDITION_FAILED,
                "It has changed meanwhile",
            ),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The body is of the wrong type",
            ),
        }
    }
}

impl Problem {
    pub(super) fn new(name: Name, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Own(Own {
            name,
            detail: detail.into(),
            field: None,
            session: None,
        })
    }

    /// A field, query parameter or header field that is unknown or wrong.
    pub(super) fn invalid(field: impl Into<String>, reason: impl AsRef<str>) -> Self {
        let field = field.into();
        Self::Own(Own {
            name: Name::Invalid,
            detail: format!("`{field}`: {}", reason.as_ref()).into(),
            field: Some(field),
            session: None,
        })
    }

    pub(super) fn no_session(id: &SessionId) -> Self {
        Self::Own(Own {
            name: Name::NotFound,
            detail: format!("session `{id}` does not exist").into(),
            field: None,
            session: Some(id.clone()),
        })
    }

    /// The same fault as one of a session's, where it is a fault that does not say whose it is.
    #[must_use]
    pub(super) fn of(self, session: Option<SessionId>) -> Self {
        match self {
            Self::Fault {
                fault,
                session: None,
            } => Self::Fault { fault, session },
            known => known,
        }
    }

    /// The name of the error, for tests of what refuses.
    #[cfg(test)]
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Own(own) => own.name.row().0,
            Self::Fault { fault, .. } => fault.kind().row().name,
            Self::Answered(_) => "answered",
        }
    }

    /// The field that is at fault, for tests of what refuses.
    #[cfg(test)]
    pub(super) fn field(&self) -> Option<&str> {
        match self {
            Self::Own(own) => own.field.as_deref(),
            Self::Fault { .. } | Self::Answered(_) => None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        match self {
            Self::Own(own) => own.into_response(),
            Self::Fault { fault, session } => fault.response(session.as_ref()).map(Body::from),
            Self::Answered(response) => *response,
        }
    }
}

impl IntoResponse for Own {
    fn into_response(self) -> Response {
        let (name, status, title) = self.name.row();
        let mut problem = json!({
            "type": format!("urn:burdock:error:{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let Some(field) = self.field {
            problem["field"] = field.into();
        }
        if let Some(session) = &self.session {
            problem["sessionId"] = session.as_str().into();
        }
        let mut response = Response::new(Body::from(problem.to_string()));
        *response.status_mut() = status;
        let fields = response.headers_mut();
        fields.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(session) = &self.session {
            let session = HeaderValue::from_str(session).expect("an id is visible ASCII");
            fields.insert(X_SESSION_ID, session);
        }
        if self.name == Name::Unauthorized {
            fields.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"burdock\""),
            );
        }
        response
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Fault {
            fault,
            session: None,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Fault::from(error).into()
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Unknown(id) => Self::no_session(&id),
            RegistryError::Conflict(ref id) => {
                let session = Some(id.clone());
                Self::Own(Own {
                    name: Name::Conflict,
                    detail: error.to_string().into(),
                    field: None,
                    session,
                })
            }
            RegistryError::NoAdapter(_) => Fault::new(Kind::StoreUnavailable, error.to_string())
                .retry_after(UNTIL_RECONFIGURED)
                .into(),
            RegistryError::TooMany { .. } | RegistryError::Store(_) => Fault::from(error).into(),
        }
    }
}

impl From<InvalidField> for Problem {
    fn from(InvalidField { field, reason }: InvalidField) -> Self {
        match field.is_empty() {
            true => Self::new(Name::Invalid, format!("the body {reason}")),
            false => Self::invalid(field, reason),
        }
    }
}

/// The answer of paths that are none.
pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(
        Name::NotFound,
        format!("there is nothing at `{}`", uri.path()),
    )
}

/// The answer of paths that do not have the method; axum adds `Allow`.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Name::MethodNotAllowed,
        format!("`{}` does not have `{method}`", uri.path()),
    )
}

/// An adapter that is not configured needs a person to come; a minute is how often it is worth asking.
const UNTIL_RECONFIGURED: Duration = Duration::from_secs(60);

/// The answer of a call as JSON.
pub(super) fn answer(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Name; 10] = [
        Name::Invalid,
        Name::TooLarge,
        Name::TooSlow,
        Name::Unauthorized,
        Name::Forbidden,
        Name::NotFound,
        Name::MethodNotAllowed,
        Name::Conflict,
        Name::PreconditionFailed,
        Name::UnsupportedMediaType,
    ];

    #[test]
    fn every_error_is_a_problem_document_of_its_status() {
        for name in ALL {
            let (_, status, _) = name.row();
            let response = Problem::new(name, "why").into_response();
            assert_eq!(response.status(), status, "{name:?}");
            assert_eq!(
                response.headers()[CONTENT_TYPE],
                "application/problem+json",
                "{name:?}"
            );
            let challenged = response.headers().contains_key(WWW_AUTHENTICATE);
            assert_eq!(challenged, status == StatusCode::UNAUTHORIZED, "{name:?}");
        }
    }

    #[test]
    fn an_adapter_that_is_not_configured_is_an_unavailable_store() {
        let response = Problem::from(RegistryError::NoAdapter("redis".into())).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[http::header::RETRY_AFTER], "60");
    }

    #[test]
    fn an_error_of_a_session_names_it_in_the_body_and_in_a_field() {
        let id: SessionId = "a".parse().unwrap();
        let response = Problem::from(RegistryError::Conflict(id)).into_response();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers()[X_SESSION_ID], "a");
    }
}
