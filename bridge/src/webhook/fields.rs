//! Reads Box's JSON objects field by field. Box's shapes vary by trigger and are only partly
//! documented, so a field of another shape than expected stays where it is, among the rest.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::event::EventError;

/// Box's own ids are short; a longer one is not Box's.
const LONGEST_ID: usize = 128;

pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of an object; `None` where it is none, or has none.
    pub(super) fn of(value: Value) -> Option<Self> {
        match value {
            Value::Object(fields) if !fields.is_empty() => Some(Self(fields)),
            _ => None,
        }
    }

    /// Takes an id without which there is nothing to be done; an empty one counts as none.
    pub(super) fn id(
        &mut self,
        name: &str,
        of: &'static str,
    ) -> Result<Option<String>, EventError> {
        match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(_) => {}
        }
        self.optional_id(name)
            .map(Some)
            .ok_or(EventError::BadId(of))
    }

    /// Takes an id that is good to know. Ids are text, but some guides print them as numbers.
    pub(super) fn optional_id(&mut self, name: &str) -> Option<String> {
        let id = match self.0.get(name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.as_u64()?.to_string(),
            _ => return None,
        };
        if id.is_empty() || !is_id(&id) {
            return None;
        }
        self.0.remove(name);
        Some(id)
    }

    /// Takes a length in bytes. Box sends large numbers as floats with an exponent.
    pub(super) fn size(&mut self, name: &str) -> Option<u64> {
        // Beyond this a float does not tell one whole number from the next.
        const LARGEST: f64 = 9_007_199_254_740_992.0;
        let size = match self.0.get(name)? {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_u64().or_else(|| {
                let size = number.as_f64()?;
                let whole = (0.0..=LARGEST).contains(&size) && size.fract() == 0.0;
                whole.then_some(size as u64)
            }),
            _ => None,
        };
        let size = size.filter(|size| i64::try_from(*size).is_ok())?;
        self.0.remove(name);
        Some(size)
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name, Value::is_string)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Takes a text that Box also sends as a number, such as an etag.
    pub(super) fn text_or_number(&mut self, name: &str) -> Option<String> {
        match self.take(name, |value| value.is_string() || value.is_number())? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    pub(super) fn time(&mut self, name: &str) -> Option<Timestamp> {
        let time = self.0.get(name)?.as_str()?.parse().ok()?;
        self.0.remove(name);
        Some(time)
    }

    pub(super) fn object(&mut self, name: &str) -> Option<Self> {
        self.take(name, Value::is_object).and_then(Self::of)
    }

    pub(super) fn array(&mut self, name: &str) -> Option<Vec<Value>> {
        match self.take(name, Value::is_array)? {
            Value::Array(values) => Some(values),
            _ => None,
        }
    }

    /// All that was not taken.
    pub(super) fn rest(mut self) -> Map<String, Value> {
        self.0.retain(|_, value| !value.is_null());
        self.0
    }

    fn take(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        self.0.get(name).filter(|value| fits(value))?;
        self.0.remove(name)
    }
}

fn is_id(text: &str) -> bool {
    text.chars().nth(LONGEST_ID).is_none() && !text.chars().any(char::is_control)
}
