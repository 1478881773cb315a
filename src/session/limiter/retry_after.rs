//! The `Retry-After` field of a response (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use super::pauses::MAX_PAUSE;
use crate::session::time::Timestamp;

/// The moment a `Retry-After` field value asks to wait for; `None` where the value is neither delay seconds nor an HTTP-date.
///
/// A moment that is past is `now`, one that lies more than a day ahead is a day ahead.
///
/// ```
/// use burdock::session::limiter::retry_after;
/// use burdock::session::time::Timestamp;
///
/// let now = Timestamp::from_unix_seconds(1_000_000_000);
/// assert_eq!(retry_after(b"120", now), Some(Timestamp::from_unix_seconds(1_000_000_120)));
/// assert_eq!(retry_after(b"soon", now), None);
/// ```
#[must_use]
pub fn retry_after(value: &[u8], now: Timestamp) -> Option<Timestamp> {
    let value = std::str::from_utf8(value.trim_ascii()).ok()?;
    let wanted = match delay_seconds(value) {
        Some(delay) => now + delay,
        None => http_date(value)?,
    };
    Some(wanted.clamp(now, now + MAX_PAUSE))
}

/// `1*DIGIT`. A number too large to count is as good as the longest pause.
fn delay_seconds(value: &str) -> Option<Duration> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().map_or(MAX_PAUSE, Duration::from_secs))
}

fn http_date(value: &str) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(value).ok()?;
    let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp::default() + since_epoch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn field_values() {
        const DAY: i64 = 86_400;
        let now = Timestamp::from_unix_seconds(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        for (name, value, wanted) in [
            ("nothing", &b""[..], None),
            ("zero", b"0", Some(0)),
            ("a second", b"1", Some(1)),
            ("leading zeros", b"0010", Some(10)),
            ("white space around", b" \t30 ", Some(30)),
            ("exactly a day", b"86400", Some(DAY)),
            ("more than a day", b"86401", Some(DAY)),
            ("more than u64", b"99999999999999999999999999", Some(DAY)),
            ("negative", b"-1", None),
            ("plus", b"+1", None),
            ("a fraction", b"1.5", None),
            ("two values", b"1, 2", None),
            ("a unit", b"5s", None),
            ("not UTF-8", b"\xff\xfe", None),
            ("other digits", "\u{663}".as_bytes(), None),
            ("IMF-fixdate", b"Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("RFC 850", b"Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("asctime", b"Sun Nov  6 08:50:37 1994", Some(60)),
            ("a past date", b"Sat, 05 Nov 1994 08:49:37 GMT", Some(0)),
            ("a far date", b"Fri, 31 Dec 9999 23:59:59 GMT", Some(DAY)),
            ("a day that is not", b"Sun, 31 Feb 1994 08:49:37 GMT", None),
        ] {
            let wanted = wanted.map(|seconds| Timestamp::from_unix_seconds(784_111_777 + seconds));
            assert_eq!(retry_after(value, now), wanted, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics_or_leaves_the_bounds(value in prop::collection::vec(any::<u8>(), 0..40), now in 0..i64::MAX / 2) {
            let now = Timestamp::from_micros(now);
            if let Some(until) = retry_after(&value, now) {
                prop_assert!(until >= now && until <= now + MAX_PAUSE);
            }
        }

        #[test]
        fn any_number_is_understood(value in "[0-9]{1,30}") {
            prop_assert!(retry_after(value.as_bytes(), Timestamp::default()).is_some());
        }
    }
}
