//! What an error made by the proxy must look like (docs/INTERFACE.md, section 5).

use sfv::{BareItem, List, ListEntry, Parser};

use super::Answer;

/// The name, status and detail of the fault in `answer`, after checking all that every fault has.
pub(crate) fn fault(answer: &Answer) -> (String, u16, String) {
    assert_eq!(
        answer.field("content-type"),
        Some("application/problem+json"),
        "{answer:?}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status, "{problem}");
    let kind = problem["type"].as_str().expect("a type");
    let name = kind
        .strip_prefix("urn:burdock:error:")
        .unwrap_or_else(|| panic!("a burdock type, not {kind}"));
    for member in ["title", "detail"] {
        assert!(
            problem[member]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{member} in {problem}"
        );
    }
    let session = problem["sessionId"].as_str();
    assert_eq!(
        session,
        answer.field("x-session-id"),
        "the session in the body and in the field"
    );
    let detail = problem["detail"].as_str().unwrap_or_default();
    (name.to_owned(), answer.status, detail.to_owned())
}

/// The `error` type of `Proxy-Status` (RFC 9209), whose `details` must say something.
pub(crate) fn proxy_error(answer: &Answer) -> String {
    let status = answer
        .field("proxy-status")
        .unwrap_or_else(|| panic!("Proxy-Status in {answer:?}"));
    let list: List = Parser::new(status)
        .parse()
        .unwrap_or_else(|error| panic!("{error} in {status}"));
    let [ListEntry::Item(item)] = list.as_slice() else {
        panic!("one member, not {status}")
    };
    let name = match &item.bare_item {
        BareItem::Token(token) => token.as_str(),
        other => panic!("a token, not {other:?}"),
    };
    assert_eq!(name, "burdock");
    let parameter = |name: &str| {
        item.params
            .get(name)
            .unwrap_or_else(|| panic!("{name} in {status}"))
    };
    let details = parameter("details").as_string().expect("a string");
    assert!(!details.as_str().is_empty(), "details in {status}");
    parameter("error")
        .as_token()
        .expect("a token")
        .as_str()
        .to_owned()
}

/// Checks that `answer` is the fault `name` with `status`, and that `Proxy-Status` has it too.
#[track_caller]
pub(crate) fn assert_fault(answer: &Answer, name: &str, status: u16) {
    let (found, code, detail) = fault(answer);
    assert_eq!((found.as_str(), code), (name, status), "{detail}");
    proxy_error(answer);
}

/// Checks that `answer` is an error of the admin API, which has no `Proxy-Status`.
#[track_caller]
pub(crate) fn assert_problem(answer: &Answer, name: &str, status: u16) -> String {
    let (found, code, detail) = fault(answer);
    assert_eq!((found.as_str(), code), (name, status), "{detail}");
    detail
}
