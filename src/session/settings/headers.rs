//! The fields that a session adds to its requests, and those it may not.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use super::fields::{Field, InvalidField};

pub(super) fn read(field: &Field<'_>) -> Result<BTreeMap<String, String>, InvalidField> {
    let entries = field.entries()?;
    if entries.len() > MAX_FIELDS {
        return field.invalid(format!("must not have more than {MAX_FIELDS} fields"));
    }
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, field) in entries {
        let Ok(canonical) = HeaderName::from_bytes(name.as_bytes()) else {
            return field.invalid("is not a field name");
        };
        if is_reserved(canonical.as_str()) {
            return field.invalid("cannot be set by a session");
        }
        if headers.keys().any(|other| other.eq_ignore_ascii_case(name)) {
            return field.invalid("is given twice in different case");
        }
        let value = field.text()?;
        if value.len() > MAX_VALUE || !is_value(value) {
            return field.invalid(format!(
                "must be a field value of at most {MAX_VALUE} bytes"
            ));
        }
        headers.insert(name.to_owned(), value.to_owned());
    }
    Ok(headers)
}

/// Whether the text can be a field value (RFC 9110, section 5.5): no control but tab, no white space round it.
pub(super) fn is_value(text: &str) -> bool {
    HeaderValue::from_bytes(text.as_bytes()).is_ok()
        && text.trim_matches([' ', '\t']).len() == text.len()
}

/// Whether the field belongs to the connection, the message's framing, the jar or burdock itself.
fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

pub(super) const MAX_VALUE: usize = 8 * 1024;

const MAX_FIELDS: usize = 64;

const RESERVED: [&str; 13] = [
    "connection",
    "content-length",
    "cookie",
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

const RESERVED_PREFIXES: [&str; 2] = ["proxy-", "x-burdock-"];
