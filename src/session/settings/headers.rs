//! The fields that a session adds to its requests, and those it may not.

use std::collections::{BTreeMap, HashSet};

use http::{HeaderName, HeaderValue};

use super::fields::{Field, InvalidField};

/// Names of fields as somebody gave them, each of which may be there once, whatever its case.
#[derive(Debug, Default)]
pub struct GivenNames(HashSet<HeaderName>);

impl GivenNames {
    /// Reads the next one (RFC 9110, section 5.1).
    ///
    /// # Errors
    /// What is wrong with it, for whoever gave it.
    pub fn read(&mut self, text: &str) -> Result<HeaderName, &'static str> {
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "is not a field name")?;
        match self.0.insert(name.clone()) {
            true => Ok(name),
            false => Err("is given twice in different case"),
        }
    }
}

pub(super) fn read(field: &Field<'_>) -> Result<BTreeMap<String, String>, InvalidField> {
    let entries = field.entries()?;
    if entries.len() > MAX_FIELDS {
        return field.invalid(format!("must not have more than {MAX_FIELDS} fields"));
    }
    let mut headers = BTreeMap::new();
    let mut names = GivenNames::default();
    for (name, field) in entries {
        let canonical = match names.read(name) {
            Ok(canonical) => canonical,
            Err(reason) => return field.invalid(reason),
        };
        if is_reserved(canonical.as_str()) {
            return field.invalid("cannot be set by a session");
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
