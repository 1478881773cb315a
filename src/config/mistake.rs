//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// Where a value was given. In the order in which mistakes are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the config file, counted from 1; `None` for the file as a whole.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line.
        line: Option<usize>,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line, such as `--listen`.
    Flag(&'static str),
    /// Nowhere: a default.
    Default,
}

impl Place {
    /// The same place with the line of an item in it, where that is known.
    pub(super) fn at_line(&self, item: Option<usize>) -> Self {
        match self {
            Self::File { path, line } => Self::File {
                path: path.clone(),
                line: item.or(*line),
            },
            other => other.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong; its `Display` is one line, `FILE:LINE: section.key: what is wrong`, or
/// with the variable or flag in place of file and line and key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// The dotted key, empty where the mistake concerns none (TOML that cannot be parsed).
    pub key: String,
    /// What is wrong, for whoever has to mend it.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        // A variable or flag says already which key is meant.
        let says_key = matches!(self.place, Place::Variable(_) | Place::Flag(_));
        if !says_key && !self.key.is_empty() {
            write!(f, "{}: ", shown(&self.key))?;
        }
        f.write_str(&self.problem)
    }
}

/// Everything that is wrong, at least one thing, by place; its `Display` is one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// `None` where there are none.
    pub(super) fn of(mut mistakes: Vec<Mistake>) -> Option<Self> {
        mistakes.sort();
        mistakes.dedup();
        (!mistakes.is_empty()).then_some(Self(mistakes))
    }

    /// The mistakes by place.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// A text of the user's as a message shows it: on one line and not longer than a line.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    // Quotes are no danger to a line, and paths and lists read better without the backslashes.
    shown = shown.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_one_line_that_says_where() {
        let cases = [
            (
                Place::File {
                    path: "b.toml".into(),
                    line: Some(3),
                },
                "b.toml:3: proxy.listen: is wrong",
            ),
            (
                Place::Variable("BURDOCK_PROXY__LISTEN".into()),
                "BURDOCK_PROXY__LISTEN: is wrong",
            ),
            (Place::Flag("--listen"), "--listen: is wrong"),
        ];
        for (place, wanted) in cases {
            let mistake = Mistake {
                place,
                key: "proxy.listen".into(),
                problem: "is wrong".into(),
            };
            assert_eq!(mistake.to_string(), wanted);
        }
    }

    #[test]
    fn a_text_of_the_user_stays_on_its_line() {
        assert_eq!(shown("a\nb\"c"), "a\\nb\"c");
        assert_eq!(shown(&"é".repeat(121)), format!("{}…", "é".repeat(120)));
    }
}
