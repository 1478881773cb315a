//! Reading the fields of a JSON object one by one, with errors that name the field.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// A field of a JSON document that is unknown or wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {reason}")]
pub struct InvalidField {
    /// Its place, such as `browser.viewport.width` or `[2].domain`; empty for the document itself.
    pub field: String,
    /// What is wrong with it, without its value where that may be a secret.
    pub reason: String,
}

impl InvalidField {
    pub(in crate::session) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// An object whose fields are taken by name; what is left at the end is unknown.
pub(in crate::session) struct Fields<'a> {
    at: String,
    object: &'a Map<String, Value>,
    taken: BTreeSet<&'static str>,
}

/// One value and its place.
#[derive(Clone)]
pub(in crate::session) struct Field<'a> {
    pub(in crate::session) at: String,
    pub(in crate::session) value: &'a Value,
}

impl<'a> Fields<'a> {
    pub(in crate::session) fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.taken.insert(name);
        self.object.get(name).map(|value| Field {
            at: self.place(name),
            value,
        })
    }

    /// As [`Self::take`], where `null` is as good as absent.
    pub(in crate::session) fn take_some(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.take(name).filter(|field| !field.value.is_null())
    }

    pub(in crate::session) fn require(
        &mut self,
        name: &'static str,
    ) -> Result<Field<'a>, InvalidField> {
        let place = self.place(name);
        self.take(name)
            .ok_or_else(|| InvalidField::new(place, "is missing"))
    }

    /// Refuses what was not taken.
    pub(in crate::session) fn end(self) -> Result<(), InvalidField> {
        match self
            .object
            .keys()
            .find(|name| !self.taken.contains(name.as_str()))
        {
            Some(name) => Err(InvalidField::new(self.place(name), "is not a known field")),
            None => Ok(()),
        }
    }

    pub(in crate::session) fn place(&self, name: &str) -> String {
        if self.at.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.at)
        }
    }
}

impl<'a> Field<'a> {
    pub(in crate::session) fn root(value: &'a Value) -> Self {
        Self {
            at: String::new(),
            value,
        }
    }

    pub(in crate::session) fn invalid<T>(
        &self,
        reason: impl Into<String>,
    ) -> Result<T, InvalidField> {
        Err(InvalidField::new(self.at.clone(), reason))
    }

    pub(in crate::session) fn fields(&self) -> Result<Fields<'a>, InvalidField> {
        match self.value {
            Value::Object(object) => Ok(Fields {
                at: self.at.clone(),
                object,
                taken: BTreeSet::new(),
            }),
            _ => self.invalid("must be an object"),
        }
    }

    pub(in crate::session) fn items(
        &self,
    ) -> Result<impl ExactSizeIterator<Item = Field<'a>> + use<'a>, InvalidField> {
        let Value::Array(items) = self.value else {
            return self.invalid("must be an array");
        };
        let at = self.at.clone();
        Ok(items.iter().enumerate().map(move |(index, value)| Field {
            at: format!("{at}[{index}]"),
            value,
        }))
    }

    pub(in crate::session) fn entries(
        &self,
    ) -> Result<impl ExactSizeIterator<Item = (&'a str, Field<'a>)> + use<'a>, InvalidField> {
        let Value::Object(object) = self.value else {
            return self.invalid("must be an object");
        };
        let at = self.at.clone();
        Ok(object.iter().map(move |(name, value)| {
            let at = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}.{name}")
            };
            (name.as_str(), Field { at, value })
        }))
    }

    pub(in crate::session) fn text(&self) -> Result<&'a str, InvalidField> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => self.invalid("must be a string"),
        }
    }

    pub(in crate::session) fn flag(&self) -> Result<bool, InvalidField> {
        match self.value {
            Value::Bool(flag) => Ok(*flag),
            _ => self.invalid("must be true or false"),
        }
    }

    pub(in crate::session) fn number(&self) -> Result<f64, InvalidField> {
        match self.value.as_f64() {
            Some(number) if number.is_finite() => Ok(number),
            _ => self.invalid("must be a number"),
        }
    }

    /// An integer of the range, also where it is written as `3600.0` (to JSON Schema that is one).
    pub(in crate::session) fn integer(
        &self,
        least: u64,
        greatest: u64,
    ) -> Result<u64, InvalidField> {
        match self.value.as_u64().or_else(|| whole(self.value)) {
            Some(number) if (least..=greatest).contains(&number) => Ok(number),
            _ => self.invalid(format!("must be an integer from {least} to {greatest}")),
        }
    }
}

fn whole(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    // Up to here every integer has a float of its own.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    (number.fract() == 0.0 && (0.0..=MAX_SAFE_INTEGER as f64).contains(&number))
        .then_some(number as u64)
}

/// The greatest integer that JSON's readers agree on.
pub(in crate::session) const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
