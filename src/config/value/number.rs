//! Options that are numbers.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};

use crate::session::limiter::Rate;

use super::super::mistake::shown;
use super::super::raw::Raw;
use super::{Problem, Text, Value, wrong_type};

impl Value for usize {
    fn kind() -> String {
        "number".into()
    }

    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        whole(raw, 0).map(|number| number as Self)
    }
}

impl Value for NonZeroUsize {
    fn kind() -> String {
        "number, at least 1".into()
    }

    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        NonZeroU32::decode(raw)
            .and_then(|number| Self::try_from(number).map_err(|_| vec![out_of_range(1)]))
    }
}

impl Value for NonZeroU32 {
    fn kind() -> String {
        "number, at least 1".into()
    }

    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        whole(raw, 1).and_then(|number| Self::new(number).ok_or_else(|| vec![out_of_range(1)]))
    }
}

/// 0 is no limit.
impl Value for Option<NonZeroU32> {
    fn kind() -> String {
        "number".into()
    }

    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        whole(raw, 0).map(NonZeroU32::new)
    }
}

/// A rate; 0 is no limit.
impl Value for Option<f64> {
    fn kind() -> String {
        "number".into()
    }

    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        let number = match raw {
            Raw::Integer(Some(number)) => *number as f64,
            Raw::Float(number) => *number,
            Raw::Text(text) => text.trim().parse().map_err(|_| vec![not_a_number(text)])?,
            Raw::Integer(None) => f64::INFINITY,
            other => return Err(wrong_type(other, "a number")),
        };
        if number == 0.0 {
            return Ok(None);
        }
        let (least, most) = (Rate::MIN_PER_SECOND, Rate::MAX_PER_SECOND);
        if !(least..=most).contains(&number) {
            return Err(vec![Problem::new(format!(
                "must be from {least} to {most}, or 0 for no limit"
            ))]);
        }
        Ok(Some(number))
    }
}

impl Text for SocketAddr {
    fn kind() -> String {
        "address:port".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!(
                "`{}` is not an address and port such as 127.0.0.1:8080 or [::1]:8080",
                shown(text)
            )
        })
    }
}

fn whole(raw: &Raw, least: u32) -> Result<u32, Vec<Problem>> {
    let number = match raw {
        Raw::Integer(number) => *number,
        Raw::Text(text) => Some(text.trim().parse().map_err(|_| vec![not_a_number(text)])?),
        other => return Err(wrong_type(other, "a whole number")),
    };
    number
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number >= least)
        .ok_or_else(|| vec![out_of_range(least)])
}

fn out_of_range(least: u32) -> Problem {
    Problem::new(format!("must be from {least} to {}", u32::MAX))
}

fn not_a_number(text: &str) -> Problem {
    Problem::new(format!("`{}` is not a number", shown(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(raw: Raw) -> Option<Option<f64>> {
        Option::<f64>::decode(&raw).ok()
    }

    #[test]
    fn a_count_is_bounded() {
        let count = |raw: Raw| usize::decode(&raw).ok();
        assert_eq!(count(Raw::Integer(Some(0))), Some(0));
        assert_eq!(count(Raw::Integer(Some(1 << 32))), None);
        assert_eq!(count(Raw::Integer(Some(-1))), None);
        assert_eq!(count(Raw::Integer(None)), None);
        assert_eq!(count(Raw::Text("32".into())), Some(32));
        assert_eq!(count(Raw::Text("3x".into())), None);
        assert_eq!(count(Raw::String("32".into())), None);
        assert_eq!(count(Raw::Float(1.0)), None);
        assert!(NonZeroUsize::decode(&Raw::Integer(Some(0))).is_err());
    }

    #[test]
    fn no_limit_is_written_zero() {
        let limit = |number| Option::<NonZeroU32>::decode(&Raw::Integer(Some(number))).ok();
        assert_eq!(limit(0), Some(None));
        assert_eq!(limit(3), Some(NonZeroU32::new(3)));
        assert_eq!(rate(Raw::Integer(Some(0))), Some(None));
        assert_eq!(rate(Raw::Float(-0.0)), Some(None));
    }

    #[test]
    fn a_rate_is_a_number_that_an_interval_can_be_made_of() {
        assert_eq!(rate(Raw::Float(0.5)), Some(Some(0.5)));
        assert_eq!(rate(Raw::Integer(Some(3))), Some(Some(3.0)));
        assert_eq!(rate(Raw::Text("0.25".into())), Some(Some(0.25)));
        for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e-9, 1e9] {
            assert_eq!(rate(Raw::Float(wrong)), None, "{wrong}");
        }
        assert_eq!(rate(Raw::Text("nan".into())), None);
    }

    #[test]
    fn a_listener_needs_address_and_port() {
        assert!(<SocketAddr as Text>::parse("[::1]:0").is_ok());
        for text in [
            "",
            ":8080",
            "8080",
            "localhost:8080",
            "127.0.0.1",
            "::1:8080",
        ] {
            assert!(<SocketAddr as Text>::parse(text).is_err(), "{text}");
        }
    }
}
