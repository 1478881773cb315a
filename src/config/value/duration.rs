//! Durations with units: `30s`, `1h30m`, `250ms`.

use std::time::Duration;

use super::super::mistake::shown;
use super::Text;

impl Text for Duration {
    fn kind() -> String {
        "duration".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| {
            format!(
                "`{}` is not a duration such as \"30s\" or \"1h30m\" (units: ms, s, m, h, d; at most 36500d)",
                shown(text)
            )
        })
    }
}

/// Says what is wrong with a duration outside `least..=most`.
pub(in crate::config) fn within(
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("must be from {} to {}", print(least), print(most)))
}

/// The shortest text that reads as the duration, which is cut to milliseconds.
pub(in crate::config) fn print(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, length) in UNITS {
        let count = rest / u128::from(length);
        rest %= u128::from(length);
        if count > 0 {
            text.extend([&count.to_string(), unit]);
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// Each unit at most once, the longer before the shorter, spaces between them allowed.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut units = UNITS.iter();
    let mut millis = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (count, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (name, tail) = tail.split_at(letters);
        let (_, length) = units.find(|(unit, _)| *unit == name)?;
        let part = count.parse::<u64>().ok()?.checked_mul(*length)?;
        millis = millis.checked_add(part)?;
        rest = tail.trim_start();
    }
    let duration = Duration::from_millis(millis);
    (!text.trim().is_empty() && duration <= LONGEST).then_some(duration)
}

/// Name and length in milliseconds, the longest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A hundred years: longer ones would overflow where they are added to a point in time.
const LONGEST: Duration = Duration::from_hours(36_500 * 24);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_is_a_sum_of_units() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("2d1ms", 172_800_001),
            (" 5s ", 5_000),
            ("36500d", 36_500 * 86_400_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            " ",
            "0",
            "30",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "1S",
            "1min",
            "30s1m",
            "1s1s",
            "1s,2ms",
            "36500d1ms",
            "99999999999999999999s",
            "18446744073709551615d",
            "1µs",
            "٣s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(millis in 0..=36_500u64 * 86_400_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&print(duration)), Some(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9smhd ]*") {
            let _ = parse(&text);
        }
    }
}
