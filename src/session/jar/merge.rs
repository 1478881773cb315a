//! The session's cookies and the client's own in one `Cookie` field (docs/INTERFACE.md, section 4).

use bytes::Bytes;
use http::HeaderValue;

use super::index::Entry;
use super::parse::{split_pair, trim};
use super::superseded::Superseded;

/// The session's cookies in their order as a cookie-string; none where there are none.
pub(super) fn cookie_string(selected: &[&Entry]) -> Option<HeaderValue> {
    if selected.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    for entry in selected {
        separate(&mut out);
        entry.cookie.write_pair(&mut out);
    }
    Some(
        HeaderValue::from_maybe_shared(Bytes::from(out))
            .expect("no cookie holds a control character but tab"),
    )
}

/// What the client's cookies are judged by.
pub(super) struct Ours<'a> {
    /// The site of the request's host.
    pub(super) site: &'a str,
    /// What the session sends to this URL, in order.
    pub(super) selected: &'a [&'a Entry],
    /// Whether some cookie of the site has this name and value.
    pub(super) is_present: &'a dyn Fn(&[u8], &[u8]) -> bool,
    /// The values that are not present any more.
    pub(super) superseded: &'a Superseded,
}

/// The session's cookies that the client does not override, then the client's that are no stale echo. None: no field.
pub(super) fn merge(ours: &Ours<'_>, client: &[&[u8]]) -> Option<HeaderValue> {
    let joined = client.join(&b"; "[..]);
    if ours.selected.is_empty() && ours.superseded.is_empty() {
        return field_value(joined);
    }
    let pairs: Vec<Pair<'_>> = joined
        .split(|&octet| octet == b';')
        .map(|pair| Pair::judge(pair, ours))
        .collect();
    let overrides = |entry: &Entry, pair: &Pair<'_>| {
        pair.name == Some(entry.cookie.name().as_bytes()) && !pair.stale
    };
    let mut out = Vec::new();
    for entry in ours
        .selected
        .iter()
        .filter(|entry| !pairs.iter().any(|pair| overrides(entry, pair)))
    {
        separate(&mut out);
        entry.cookie.write_pair(&mut out);
    }
    if out.is_empty() && !pairs.iter().any(|pair| pair.stale) {
        return field_value(joined);
    }
    for pair in pairs
        .iter()
        .filter(|pair| !pair.stale && !pair.octets.is_empty())
    {
        separate(&mut out);
        out.extend_from_slice(pair.octets);
    }
    if out.is_empty() {
        return None;
    }
    // What cannot be a field value did not come in one.
    field_value(out).or_else(|| cookie_string(ours.selected))
}

/// One of the client's pairs.
struct Pair<'a> {
    octets: &'a [u8],
    /// None where there is no `=`: such a pair is passed as it is.
    name: Option<&'a [u8]>,
    stale: bool,
}

impl<'a> Pair<'a> {
    fn judge(pair: &'a [u8], ours: &Ours<'_>) -> Self {
        let octets = trim(pair);
        match split_pair(pair) {
            Some((name, value)) => {
                let stale = ours.superseded.holds(ours.site, name, value)
                    && !(ours.is_present)(name, value);
                Self {
                    octets,
                    name: Some(name),
                    stale,
                }
            }
            None => Self {
                octets,
                name: None,
                stale: false,
            },
        }
    }
}

fn separate(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.extend_from_slice(b"; ");
    }
}

fn field_value(octets: Vec<u8>) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(octets)).ok()
}
