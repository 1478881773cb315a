//! Sizes with units: `64KiB`, `1MB`.

use std::fmt;

use super::super::mistake::shown;
use super::super::raw::Raw;
use super::{Problem, Value, wrong_type};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes, or as many as memory can have.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// In the largest binary unit that needs no fraction.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = UNITS.iter().filter(|(name, _)| name.ends_with("iB"));
        match binary
            .rev()
            .find(|(_, length)| self.0 > 0 && self.0.is_multiple_of(*length))
        {
            Some((name, length)) => write!(f, "{}{name}", self.0 / length),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Value for ByteSize {
    fn kind() -> String {
        "size".into()
    }

    /// A bare number is bytes.
    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        let size = match raw {
            Raw::String(text) | Raw::Text(text) => parse(text).ok_or_else(|| shown(text)),
            Raw::Integer(Some(number)) => u64::try_from(*number).map_err(|_| number.to_string()),
            other => return Err(wrong_type(other, "a size such as \"64KiB\"")),
        };
        size.map(Self).map_err(|text| {
            let units = UNITS.map(|(name, _)| name).join(", ");
            vec![Problem::new(format!(
                "`{text}` is not a size such as \"64KiB\" (units: {units})"
            ))]
        })
    }
}

/// Says what is wrong with a size outside `least..=most`.
pub(in crate::config) fn within(
    value: ByteSize,
    least: ByteSize,
    most: ByteSize,
) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("must be from {least} to {most}"))
}

/// Units are read whatever their case; a space before them is allowed.
fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let length = if unit.is_empty() {
        1
    } else {
        let mut units = UNITS.iter();
        units.find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1
    };
    count.parse::<u64>().ok()?.checked_mul(length)
}

/// Name and length in bytes.
const UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_bytes() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("512B", 512),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("64 KiB", 65_536),
            ("1MB", 1_000_000),
            ("1kB", 1_000),
            ("2GiB", 2_147_483_648),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "KiB",
            "1K",
            "1.5MB",
            "-1B",
            "1 KiB x",
            "18446744073709551615GiB",
            "٣B",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_of_toml_is_bytes() {
        assert_eq!(
            ByteSize::decode(&Raw::Integer(Some(9000))).ok(),
            Some(ByteSize(9000))
        );
        assert!(ByteSize::decode(&Raw::Integer(Some(-1))).is_err());
        assert!(ByteSize::decode(&Raw::Boolean(true)).is_err());
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(bytes: u64) {
            prop_assert_eq!(parse(&ByteSize(bytes).to_string()), Some(bytes));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9KMGiB ]*") {
            let _ = parse(&text);
        }
    }
}
