//! A value as both sides understand it, so that two spellings of one value are equal.

use std::{collections::BTreeSet, fmt};

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metadata::ValueKind;

/// A value that is not empty.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Datum {
    /// Text without blanks around it.
    Text(String),
    /// A number in decimal digits, at most 15 of them: what both sides can hold.
    Number(String),
    /// A day.
    Day(Date),
    /// A time to the second.
    Moment(Timestamp),
    /// Ticked or not.
    Flag(bool),
    /// Some of several options.
    Choices(BTreeSet<String>),
    /// Not what a pair of these types can have.
    Misfit(Value),
}

/// How the values of a pair are compared: by the narrower of its two types.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Text,
    Email,
    Number,
    Day,
    Moment,
    Flag,
    Choices,
}

impl Form {
    /// The form of a pair of these types, the second in the CRM's words; `None` where they have
    /// nothing in common.
    pub(super) fn of(kind: ValueKind, crm: &str) -> Option<Self> {
        use ValueKind::{Date, Enum, Float, MultiSelect, String};
        let is_text = matches!(
            crm,
            "string"
                | "textarea"
                | "phone"
                | "url"
                | "combobox"
                | "encryptedstring"
                | "id"
                | "reference"
        );
        Some(match (kind, crm) {
            (String | Enum, "email") => Self::Email,
            (String | Enum, "picklist") => Self::Text,
            (String | Enum, "boolean") => Self::Flag,
            (String | Enum, _) if is_text => Self::Text,
            (String | Float, "double" | "currency" | "percent" | "int" | "long") => Self::Number,
            (Float, _) if is_text => Self::Number,
            (String | Date, "date") | (Date, "datetime") => Self::Day,
            (Date, _) if is_text => Self::Day,
            (String, "datetime") => Self::Moment,
            (String | MultiSelect, "multipicklist") => Self::Choices,
            (MultiSelect, _) if is_text => Self::Choices,
            _ => return None,
        })
    }

    /// The form of a pair whose second type nobody tells.
    pub(super) fn of_kind(kind: ValueKind) -> Self {
        match kind {
            ValueKind::String | ValueKind::Enum => Self::Text,
            ValueKind::Float => Self::Number,
            ValueKind::Date => Self::Day,
            ValueKind::MultiSelect => Self::Choices,
        }
    }

    /// Reads a value of either side; `None` is an empty one.
    pub(super) fn read(self, value: Option<&Value>) -> Option<Datum> {
        let is_empty = match value {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.trim().is_empty(),
            Some(Value::Array(all)) => all.is_empty(),
            Some(_) => false,
        };
        let value = match value {
            Some(value) if !is_empty => value,
            _ => return None,
        };
        Some(self.parse(value).unwrap_or(Datum::Misfit(value.clone())))
    }

    fn parse(self, value: &Value) -> Option<Datum> {
        let text = || value.as_str().map(str::trim);
        Some(match self {
            Self::Text => Datum::Text(plain(value)?),
            Self::Email => Datum::Text(plain(value)?.to_lowercase()),
            Self::Number => Datum::Number(match value {
                Value::String(text) => decimal(exact(text.trim())?.parse().ok()?)?,
                Value::Number(number) if !number.is_f64() => {
                    decimal(exact(&number.to_string())?.parse().ok()?)?
                }
                number => decimal(number.as_f64()?)?,
            }),
            Self::Day => Datum::Day(day(text()?)?),
            Self::Moment => Datum::Moment(moment(text()?)?),
            Self::Flag => Datum::Flag(match value {
                Value::Bool(flag) => *flag,
                _ => text()?.to_ascii_lowercase().parse().ok()?,
            }),
            Self::Choices => {
                let choices: BTreeSet<_> = match value {
                    Value::Array(all) => all.iter().map(plain).collect::<Option<_>>()?,
                    _ => text()?.split(';').map(|it| it.trim().to_owned()).collect(),
                };
                let choices: BTreeSet<_> =
                    choices.into_iter().filter(|it| !it.is_empty()).collect();
                (!choices.is_empty()).then_some(Datum::Choices(choices))?
            }
        })
    }
}

impl Datum {
    /// The value as text.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Number(text) => text.clone(),
            Self::Day(day) => day.to_string(),
            Self::Moment(at) => at.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Choices(all) => {
                let all: Vec<_> = all.iter().map(String::as_str).collect();
                all.join(";")
            }
            Self::Misfit(Value::String(text)) => text.clone(),
            Self::Misfit(value) => value.to_string(),
        }
    }
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        // One of the sides ends its lines as telegraphs did.
        Value::String(text) => Some(text.trim().replace("\r\n", "\n")),
        Value::Number(number) => decimal(number.as_f64()?),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// What was written digit by digit is not rounded without a word.
fn exact(text: &str) -> Option<&str> {
    const MOST_DIGITS: usize = 15;
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let counts = digits.trim_start_matches('0').trim_end_matches('0').len();
    (counts <= MOST_DIGITS).then_some(text)
}

/// Numbers pass through parsers that differ in the last bit, so no more digits count than those
/// that every double keeps.
fn decimal(number: f64) -> Option<String> {
    let rounded: f64 = format!("{number:.14e}").parse().ok()?;
    let rounded = if rounded == 0.0 { 0.0 } else { rounded };
    rounded.is_finite().then(|| rounded.to_string())
}

/// A day, also where it is written as the time at which it begins in UTC.
fn day(text: &str) -> Option<Date> {
    let date = match text.parse::<Timestamp>() {
        Ok(at) => TimeZone::UTC.to_datetime(at).date(),
        Err(_) => text.parse().ok()?,
    };
    (date.year() > 0).then_some(date)
}

fn moment(text: &str) -> Option<Timestamp> {
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => TimeZone::UTC
            .to_timestamp(day(text)?.to_datetime(Time::midnight()))
            .ok()?,
    };
    // The CRM keeps no fractions.
    Timestamp::from_second(at.as_second()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn read(kind: ValueKind, crm: &str, value: Value) -> Option<Datum> {
        Form::of(kind, crm).unwrap().read(Some(&value))
    }

    #[test]
    fn two_spellings_of_one_value_are_equal() {
        use ValueKind::{Date, Float, MultiSelect, String};
        for (kind, crm, values) in [
            (String, "string", vec![json!("a"), json!(" a ")]),
            (String, "email", vec![json!("A@b.C"), json!("a@b.c")]),
            (
                Float,
                "currency",
                vec![json!(5), json!(5.0), json!("5.00"), json!("5e0")],
            ),
            (
                Float,
                "double",
                vec![
                    json!(0.1 + 0.2),
                    json!(0.3),
                    json!(0.300_000_000_000_000_04),
                ],
            ),
            (Float, "double", vec![json!(-0.0), json!(0)]),
            (
                Date,
                "date",
                vec![
                    json!("2024-05-31T00:00:00.000Z"),
                    json!("2024-05-31"),
                    json!("2024-05-31T00:00:00.000+0000"),
                ],
            ),
            (
                Date,
                "datetime",
                vec![
                    json!("2024-05-31T00:00:00.000Z"),
                    json!("2024-05-31T23:59:59.000+0000"),
                ],
            ),
            (
                String,
                "datetime",
                vec![
                    json!("2024-05-31T02:00:00+02:00"),
                    json!("2024-05-31T00:00:00.900Z"),
                    json!("2024-05-31"),
                ],
            ),
            (String, "boolean", vec![json!("TRUE"), json!(true)]),
            (String, "boolean", vec![json!(false), json!("false")]),
            (String, "textarea", vec![json!("a\nb"), json!("a\r\nb\r\n")]),
            (
                MultiSelect,
                "multipicklist",
                vec![json!(["b", "a"]), json!("a;b"), json!("b; a;")],
            ),
            (String, "string", vec![json!(null), json!(""), json!("  ")]),
            (MultiSelect, "multipicklist", vec![json!(null), json!([])]),
        ] {
            let read: Vec<_> = values
                .iter()
                .map(|value| read(kind, crm, value.clone()))
                .collect();
            assert!(read.windows(2).all(|two| two[0] == two[1]), "{read:?}");
            assert!(!matches!(read[0], Some(Datum::Misfit(_))), "{read:?}");
        }
    }

    #[test]
    fn what_is_none_of_its_type_is_kept_as_it_is() {
        use ValueKind::{Date, Float, String};
        for (kind, crm, value) in [
            (String, "double", json!("five")),
            (String, "double", json!("1e999")),
            (String, "double", json!("NaN")),
            (String, "double", json!("12345678901234567890")),
            (Float, "double", json!(12_345_678_901_234_567_u64)),
            (Float, "string", json!("12 €")),
            (Date, "date", json!("2024-02-30")),
            (Date, "date", json!("-000001-01-01")),
            (Date, "date", json!(20240531)),
            (String, "datetime", json!("noon")),
            (String, "boolean", json!("maybe")),
            (String, "string", json!({ "street": "x" })),
        ] {
            let datum = read(kind, crm, value.clone());
            assert_eq!(datum, Some(Datum::Misfit(value)), "{kind:?} {crm}");
        }
    }

    #[test]
    fn types_that_have_nothing_in_common_are_told_apart_at_once() {
        use ValueKind::{Date, Enum, Float, MultiSelect};
        for (kind, crm) in [
            (Float, "date"),
            (Date, "double"),
            (Enum, "date"),
            (MultiSelect, "picklist"),
            (Float, "boolean"),
            (ValueKind::String, "address"),
            (ValueKind::String, "base64"),
        ] {
            assert_eq!(Form::of(kind, crm), None, "{kind:?} {crm}");
        }
    }

    #[test]
    fn every_datum_survives_the_ledger() {
        for datum in [
            Datum::Text("a".into()),
            Datum::Number("0.1".into()),
            Datum::Day("2024-05-31".parse().unwrap()),
            Datum::Moment("2024-05-31T10:00:00Z".parse().unwrap()),
            Datum::Flag(true),
            Datum::Choices(["a".to_owned()].into()),
            Datum::Misfit(json!([1])),
        ] {
            let text = serde_json::to_string(&datum).unwrap();
            assert_eq!(serde_json::from_str::<Datum>(&text).unwrap(), datum);
        }
    }
}
