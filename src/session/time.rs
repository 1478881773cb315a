//! A point in time as an argument: microseconds since the Unix epoch, printed as RFC 3339.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Microseconds since the Unix epoch by the wall clock, between the years 1 and 9999, so that every one can be printed.
///
/// `Display` and `Debug` trim to milliseconds (`2026-11-24T10:00:00.123Z`); the serialized form keeps the microseconds where
/// there are any, because the order in which cookies were created lives in them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The beginning of the year 1.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// The last microsecond of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// A time from microseconds since the epoch; what lies beyond [`Self::MIN`] or [`Self::MAX`] becomes that bound.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// A time from whole seconds since the epoch, bounded like [`Self::from_micros`].
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        if self.0 <= earlier.0 {
            return Duration::ZERO;
        }
        Duration::from_micros(self.0.abs_diff(earlier.0))
    }

    /// Reads an RFC 3339 date and time with any offset; digits below a microsecond are dropped.
    ///
    /// # Errors
    /// [`InvalidTimestamp`] where the text is none, or lies outside of the years 1 to 9999 in UTC.
    pub fn parse_rfc3339(text: &str) -> Result<Self, InvalidTimestamp> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        let micros = parsed.unix_timestamp_nanos().div_euclid(1_000);
        let micros = i64::try_from(micros).map_err(|_| InvalidTimestamp)?;
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(InvalidTimestamp)
        }
    }

    fn civil(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .expect("a Timestamp lies between the years 1 and 9999")
            .to_offset(UtcOffset::UTC)
    }

    fn rfc3339(self, precision: Precision) -> String {
        let at = self.civil();
        let micros = at.microsecond();
        let head = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        );
        match precision {
            Precision::Full if !micros.is_multiple_of(1_000) => format!("{head}.{micros:06}Z"),
            _ => format!("{head}.{:03}Z", micros / 1_000),
        }
    }
}

/// The text is not an RFC 3339 date and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date and time such as `2026-11-24T10:00:00Z`")]
pub struct InvalidTimestamp;

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        Self::parse_rfc3339(text)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339(Precision::Millis))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_sub(micros))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339(Precision::Full))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Copy)]
enum Precision {
    Millis,
    Full,
}

const MICROS_PER_SECOND: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prints_milliseconds_and_serializes_what_is_below() {
        let at = Timestamp::from_micros(1_795_514_400_123_456);
        assert_eq!(at.to_string(), "2026-11-24T10:00:00.123Z");
        assert_eq!(
            serde_json::to_string(&at).unwrap(),
            r#""2026-11-24T10:00:00.123456Z""#
        );
        let whole = Timestamp::from_unix_seconds(1_795_514_400);
        assert_eq!(
            serde_json::to_string(&whole).unwrap(),
            r#""2026-11-24T10:00:00.000Z""#
        );
        assert_eq!(
            format!("{:?}", Timestamp::default()),
            "1970-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn both_ends_can_be_printed_and_nothing_lies_beyond() {
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_micros(i64::MIN), Timestamp::MIN);
        assert_eq!(Timestamp::from_unix_seconds(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Duration::MAX, Timestamp::MIN);
    }

    #[test]
    fn since_is_zero_backwards_and_seconds_round_down() {
        let (early, late) = (
            Timestamp::from_micros(-1),
            Timestamp::from_micros(2_000_001),
        );
        assert_eq!(late.since(early), Duration::from_micros(2_000_002));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!((early.unix_seconds(), late.unix_seconds()), (-1, 2));
    }

    #[test]
    fn reads_offsets_and_refuses_what_is_no_time() {
        let at = Timestamp::parse_rfc3339("2026-11-24T12:00:00.1234567+02:00").unwrap();
        assert_eq!(at, Timestamp::from_micros(1_795_514_400_123_456));
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T10:00:00",
            "2026-13-24T10:00:00Z",
            "yesterday",
            "0001-01-01T00:00:00+01:00",
        ] {
            assert_eq!(
                Timestamp::parse_rfc3339(text),
                Err(InvalidTimestamp),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_was_serialized_reads_back(micros: i64) {
            let at = Timestamp::from_micros(micros);
            let text = serde_json::to_string(&at).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), at);
        }
    }
}
