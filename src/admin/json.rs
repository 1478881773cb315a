//! JSON as the admin API reads it: no member twice, no unknown member, errors that name the place.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::problem::{Name, Problem};
use crate::session::id::SessionId;

/// Reads a document, which must be JSON (RFC 8259) without any member given twice in one object.
pub(super) fn parse(text: &[u8]) -> Result<Value, Problem> {
    match serde_json::from_slice::<Strict>(text) {
        Ok(Strict(value)) => Ok(value),
        Err(error) => Err(Problem::new(
            Name::Invalid,
            format!("the body is not valid JSON: {error}"),
        )),
    }
}

/// An object whose members are taken by name; what is left at the end is unknown.
#[derive(Debug, Default)]
pub(super) struct Object(Map<String, Value>);

impl Object {
    pub(super) fn of(value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(Problem::new(
                Name::Invalid,
                "the body must be a JSON object",
            )),
        }
    }

    /// A member, where `null` is as good as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|value| !value.is_null())
    }

    /// A member as it is, `null` included.
    pub(super) fn take_any(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name)
    }

    pub(super) fn take_text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::invalid(name, "must be a string")),
        }
    }

    pub(super) fn take_id(&mut self) -> Result<Option<SessionId>, Problem> {
        let Some(text) = self.take_text("id")? else {
            return Ok(None);
        };
        let id = text
            .parse::<SessionId>()
            .map_err(|error| Problem::invalid("id", error.to_string()))?;
        Ok(Some(id))
    }

    /// Refuses what was not taken.
    pub(super) fn end(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            Some(name) => Err(Problem::invalid(name, "is not a known field")),
            None => Ok(()),
        }
    }

    /// What was not taken, for whoever else reads it.
    pub(super) fn rest(self) -> Value {
        Value::Object(self.0)
    }
}

/// A value that was read strictly.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!(
                    "the member `{name}` is there twice"
                )));
            }
            let Strict(value) = members.next_value()?;
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn detail(text: &str) -> String {
        format!("{:?}", parse(text.as_bytes()).expect_err(text))
    }

    #[test]
    fn errors_say_what_is_wrong_and_where() {
        assert!(detail(r#"{"id":"a""#).contains("EOF while parsing an object at line 1 column 9"));
        assert!(detail("{\"a\":1,\n\"a\":2}").contains("the member `a` is there twice at line 2"));
        assert!(detail(r#"[{"x":{"b":1,"b":2}}]"#).contains("`b` is there twice"));
        for text in ["", "{} {}", "nul", "[1,]", "1e999", "\"\\ud800\""] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(
            parse("[".repeat(10_000).as_bytes()).is_err(),
            "depth is bounded"
        );
    }

    #[test]
    fn members_are_taken_and_the_rest_is_unknown() {
        let mut object = Object::of(json!({"id": "a", "gone": null, "n": 1, "more": 2})).unwrap();
        assert_eq!(object.take_id().unwrap().unwrap().as_str(), "a");
        assert_eq!(object.take("gone"), None);
        assert_eq!(object.take_text("n").unwrap_err().field(), Some("n"));
        assert_eq!(object.end().unwrap_err().field(), Some("more"));
        assert!(Object::of(json!([])).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9..1e9f64).prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,3}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn without_repeats_it_reads_as_serde_json_does(value in any_json()) {
            let text = value.to_string();
            let wanted: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(parse(text.as_bytes()).unwrap(), wanted);
        }
    }
}
