//! What was given for each key, in layers, and what came of reading it.

use std::collections::{BTreeMap, BTreeSet};

use super::mistake::{Mistake, Place};
use super::raw::Raw;
use super::value::{Problem, Value};

/// The values given for a configuration and the mistakes found in them.
#[derive(Default)]
pub(super) struct Given {
    /// By dotted key, the layer of least precedence first.
    values: BTreeMap<String, Vec<(Place, Raw)>>,
    /// Where the value in force comes from.
    origins: BTreeMap<String, Place>,
    /// Keys with a mistake: what is said of them together with others would only repeat it.
    faulty: BTreeSet<String>,
    mistakes: Vec<Mistake>,
    partial: bool,
}

impl Given {
    /// Adds a value; it takes precedence over those added before.
    pub(super) fn add(&mut self, key: &str, place: Place, raw: Raw) {
        self.values
            .entry(key.to_owned())
            .or_default()
            .push((place, raw));
    }

    /// Takes the value of `key`: the last layer's, else the default. Each layer is checked, also one
    /// that another takes precedence over: it is wrong all the same.
    pub(super) fn take<T: Value>(
        &mut self,
        key: &str,
        default: &str,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> T {
        let mut chosen = None;
        for (place, raw) in self.values.remove(key).unwrap_or_default() {
            let value = T::decode(&raw).and_then(|value| match check(&value) {
                Ok(()) => Ok(value),
                Err(what) => Err(vec![Problem::new(what)]),
            });
            match value {
                Ok(value) => {
                    self.origins.insert(key.to_owned(), place);
                    chosen = Some(value);
                }
                Err(problems) => {
                    for problem in problems {
                        self.blame(key, place.at_line(problem.line), problem.what);
                    }
                }
            }
        }
        chosen.unwrap_or_else(|| {
            Raw::parse(default)
                .ok()
                .and_then(|raw| T::decode(&raw).ok())
                .expect("every declared default is a value of its option, as a test makes sure")
        })
    }

    /// Notes a mistake.
    pub(super) fn blame(&mut self, key: &str, place: Place, problem: impl Into<String>) {
        self.faulty.insert(key.to_owned());
        self.mistakes.push(Mistake {
            place,
            key: key.to_owned(),
            problem: problem.into(),
        });
    }

    /// Notes a mistake in the value in force for `key`.
    pub(super) fn blame_value(&mut self, key: &str, problem: impl Into<String>) {
        let place = self.origin(key).cloned().unwrap_or(Place::Default);
        self.blame(key, place, problem);
    }

    /// Notes that a layer could not be read as a whole.
    pub(super) fn blame_source(&mut self, place: Place, problem: impl Into<String>) {
        self.partial = true;
        self.blame("", place, problem);
    }

    /// Where the value in force for `key` comes from; `None` for a default.
    pub(super) fn origin(&self, key: &str) -> Option<&Place> {
        self.origins.get(key)
    }

    /// Whether these keys have been read without a mistake, so that they can be judged together.
    pub(super) fn are_sound(&self, keys: &[&str]) -> bool {
        !self.partial && keys.iter().all(|key| !self.faulty.contains(*key))
    }

    /// The mistakes noted.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_layer_takes_precedence_and_an_earlier_one_is_checked_all_the_same() {
        let mut given = Given::default();
        given.add("a.b", Place::Variable("ONE".into()), Raw::Text("x".into()));
        given.add("a.b", Place::Variable("TWO".into()), Raw::Text("2".into()));
        let value: usize = given.take("a.b", "7", |_| Ok(()));
        assert_eq!(value, 2);
        assert_eq!(given.origin("a.b"), Some(&Place::Variable("TWO".into())));
        assert!(!given.are_sound(&["a.b"]));
        let mistakes = given.into_mistakes();
        assert_eq!(mistakes.len(), 1);
        assert_eq!(mistakes[0].place, Place::Variable("ONE".into()));
    }

    #[test]
    fn the_default_stands_in_for_a_mistake() {
        let mut given = Given::default();
        given.add("a", Place::Flag("--a"), Raw::Text("1".into()));
        let value: usize = given.take("a", "7", |_| Err("is odd".into()));
        assert_eq!(value, 7);
        assert_eq!(given.origin("a"), None);
        assert_eq!(given.into_mistakes()[0].to_string(), "--a: is odd");
    }
}
