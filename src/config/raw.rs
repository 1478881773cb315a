//! A value as it was given, before anybody has said what type it should have.

use std::ops::Range;

use toml::de::DeValue;

/// A value of a file, or a text of the environment or command line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    /// A TOML string.
    String(String),
    /// A TOML integer; `None` where it exceeds 64 bits.
    Integer(Option<i64>),
    /// A TOML float.
    Float(f64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array, each item with its line.
    Array(Vec<(Option<usize>, Raw)>),
    /// A TOML table within an array.
    Table(Vec<(String, Raw)>),
    /// A TOML value that no option has; the name of its type.
    Other(&'static str),
    /// A text that has no type yet: the option's type decides how it is read.
    Text(String),
}

impl Raw {
    /// A value of a file; `lines` finds the line of a place in it.
    pub(super) fn from_toml(value: &DeValue<'_>, lines: &Lines) -> Self {
        match value {
            DeValue::String(text) => Self::String(text.clone().into_owned()),
            DeValue::Integer(number) => Self::Integer(
                i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok(),
            ),
            DeValue::Float(number) => {
                Self::Float(number.as_str().replace('_', "").parse().unwrap_or(f64::NAN))
            }
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Array(items) => Self::Array(
                items
                    .iter()
                    .map(|item| {
                        let line = lines.line_of(item.span());
                        (Some(line), Self::from_toml(item.get_ref(), lines))
                    })
                    .collect(),
            ),
            DeValue::Table(members) => Self::Table(
                members
                    .iter()
                    .map(|(name, value)| {
                        let name = name.get_ref().clone().into_owned();
                        (name, Self::from_toml(value.get_ref(), lines))
                    })
                    .collect(),
            ),
        }
    }

    /// A value of an environment variable.
    pub(super) fn from_variable(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The values of a flag that may be repeated.
    pub(super) fn from_flag(values: &[String]) -> Self {
        match values {
            [value] => Self::Text(value.clone()),
            values => Self::Array(
                values
                    .iter()
                    .map(|value| (None, Self::Text(value.clone())))
                    .collect(),
            ),
        }
    }

    /// The value of a TOML expression such as `["a", "b"]`.
    pub(super) fn parse(expression: &str) -> Result<Self, toml::de::Error> {
        let value = DeValue::parse(expression)?;
        Ok(Self::from_toml(value.get_ref(), &Lines::of(expression)))
    }

    /// The type of the value, for messages; a secret may be inside, so never the value itself.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a fraction",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
            Self::Text(_) => "a text",
        }
    }
}

/// Where the lines of a text begin.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(starts).collect())
    }

    /// The line in which `span` begins, counted from 1.
    pub(super) fn line_of(&self, span: Range<usize>) -> usize {
        self.0.partition_point(|start| *start <= span.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_first_byte() {
        let lines = Lines::of("ab\n\ncd");
        for (at, line) in [(0, 1), (2, 1), (3, 2), (4, 3), (5, 3), (99, 3)] {
            assert_eq!(lines.line_of(at..at), line, "{at}");
        }
    }

    #[test]
    fn toml_values_keep_type_and_line() {
        let raw = Raw::parse("[\n1_000,\n0x10, \"a\", 1.5, true, 1979-05-27]").expect("valid TOML");
        let item = |line, raw| (Some(line), raw);
        let wanted = Raw::Array(vec![
            item(2, Raw::Integer(Some(1000))),
            item(3, Raw::Integer(Some(16))),
            item(3, Raw::String("a".into())),
            item(3, Raw::Float(1.5)),
            item(3, Raw::Boolean(true)),
            item(3, Raw::Other("a date")),
        ]);
        assert_eq!(raw, wanted);
        assert_eq!(
            Raw::parse("99999999999999999999").expect("valid TOML"),
            Raw::Integer(None)
        );
    }
}
