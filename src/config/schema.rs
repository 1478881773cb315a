//! What may be configured: every section and option in the order of the reference.

use super::later;
use super::section::Section;
use super::value::Value;

/// The sections and options of a configuration.
#[derive(Default)]
pub(super) struct Schema {
    entries: Vec<Entry>,
}

/// A line of the schema.
pub(super) enum Entry {
    /// A table and what it is about.
    Section {
        path: String,
        about: &'static [&'static str],
    },
    /// A key.
    Option(Declared),
}

/// An option as declared.
pub(super) struct Declared {
    /// Dotted: `proxy.auth.tokens`.
    pub(super) key: String,
    /// Lines of help.
    pub(super) help: &'static [&'static str],
    /// The kind of its values ("duration").
    pub(super) kind: String,
    /// Its default as TOML.
    pub(super) default: &'static str,
}

/// What a dotted key is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// An option.
    Option,
    /// A table of options.
    Section,
    /// A key of the contract that this version does not have.
    Later,
    /// Nothing, but it may have been meant for this key.
    Nothing { near: Option<String> },
}

impl Known {
    /// What to say of a key of a later version.
    pub(super) const NOT_YET: &str = "is not supported by this version";

    /// What to say of a key that is nothing but near to another.
    pub(super) fn nothing(near: Option<String>) -> String {
        match near {
            Some(near) => format!("unknown key; did you mean `{near}`?"),
            None => "unknown key".into(),
        }
    }
}

impl Schema {
    /// The schema of a whole configuration.
    pub(super) fn of<C: Section>() -> Self {
        let mut schema = Self::default();
        C::declare("", &mut schema);
        schema
    }

    pub(super) fn section(&mut self, path: &str, about: &'static [&'static str]) {
        // The whole is not a table that a file could name.
        if !path.is_empty() {
            self.entries.push(Entry::Section {
                path: path.to_owned(),
                about,
            });
        }
    }

    pub(super) fn option<T: Value>(
        &mut self,
        key: String,
        help: &'static [&'static str],
        default: &'static str,
    ) {
        self.entries.push(Entry::Option(Declared {
            key,
            help,
            kind: T::kind(),
            default,
        }));
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What the dotted `key` names.
    pub(super) fn judge(&self, key: &str) -> Known {
        for entry in &self.entries {
            match entry {
                Entry::Section { path, .. } if path == key => return Known::Section,
                Entry::Option(declared) if declared.key == key => return Known::Option,
                Entry::Section { .. } | Entry::Option(_) => {}
            }
        }
        if later::KEYS.contains(&key) {
            return Known::Later;
        }
        // A table whose keys all belong to later versions is a section too: each key is judged by itself.
        if later::KEYS.iter().any(|later| is_under(later, key)) {
            return Known::Section;
        }
        Known::Nothing {
            near: self.nearest(key),
        }
    }

    /// What `key` is most likely a slip of the pen for: a key of its name in another section, or else
    /// one that is alike part by part.
    fn nearest(&self, key: &str) -> Option<String> {
        let names = || {
            self.entries.iter().map(|entry| match entry {
                Entry::Section { path, .. } => path,
                Entry::Option(declared) => &declared.key,
            })
        };
        let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
        let mut elsewhere = names().filter(|known| last(known) == last(key));
        if let (Some(known), None) = (elsewhere.next(), elsewhere.next()) {
            return Some(known.clone());
        }
        names()
            .filter_map(|known| Some((likeness(known, key)?, known)))
            .filter(|(likeness, _)| *likeness > 0.85)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, known)| known.clone())
    }
}

/// From 0 to 1, that of the parts which are least alike; `None` for keys of different depth.
fn likeness(one: &str, other: &str) -> Option<f64> {
    let (one, other): (Vec<_>, Vec<_>) = (one.split('.').collect(), other.split('.').collect());
    let parts = one.iter().zip(&other);
    (one.len() == other.len()).then(|| {
        parts
            .map(|(one, other)| strsim::jaro_winkler(one, other))
            .fold(1.0, f64::min)
    })
}

/// Whether `key` lies in the table `section`.
fn is_under(key: &str, section: &str) -> bool {
    key.strip_prefix(section)
        .is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_key_is_judged_by_what_it_names() {
        let schema = Schema::of::<Config>();
        let near = |key: &str| Known::Nothing {
            near: Some(key.to_owned()),
        };
        let cases = [
            ("proxy", Known::Section),
            ("proxy.listen", Known::Option),
            ("proxy.auth", Known::Section),
            ("proxy.auth.tokens", Known::Option),
            ("sessions.rate_limit.burst", Known::Option),
            ("proxy.transparent_listen", Known::Later),
            ("adapters", Known::Section),
            ("adapters.redis", Known::Section),
            ("adapters.redis.url", Known::Option),
            ("clients", Known::Later),
            ("proxi", near("proxy")),
            ("proxy.idle_timeuot", near("proxy.idle_timeout")),
            ("sesion.max_tll", near("sessions.max_ttl")),
            ("proxy.tokens", near("proxy.auth.tokens")),
            ("sessions.burst", near("sessions.rate_limit.burst")),
            ("rate_limit", near("sessions.rate_limit")),
            ("observability.foo", Known::Nothing { near: None }),
            ("proxy.x", Known::Nothing { near: None }),
            ("adapter", near("adapters")),
            ("", Known::Nothing { near: None }),
        ];
        for (key, wanted) in cases {
            assert_eq!(schema.judge(key), wanted, "{key}");
        }
    }

    #[test]
    fn no_key_is_both_here_and_later() {
        let schema = Schema::of::<Config>();
        for key in later::KEYS {
            assert_eq!(schema.judge(key), Known::Later, "{key}");
        }
    }
}
