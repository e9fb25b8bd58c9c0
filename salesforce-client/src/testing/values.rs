use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Number, Value};

use super::refusal::Refusal;
use super::schema::{FieldDef, FieldType};

/// The value as the org stores it, or the error that the org answers for it.
///
/// References are only looked at as text here; the store follows them.
pub(super) fn coerce(field: &FieldDef, value: &Value) -> Result<Value, Refusal> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let wrong = || Refusal::unparsable(field.kind.name(), &shown(value));
    match field.kind {
        FieldType::Boolean => boolean(value).map(Value::Bool).ok_or_else(wrong),
        FieldType::Int => whole(value).map(Value::from).ok_or_else(wrong),
        FieldType::Currency | FieldType::Double | FieldType::Percent => decimal(value)
            .and_then(Number::from_f64)
            .map(Value::Number)
            .ok_or_else(wrong),
        FieldType::Date => {
            let day = value.as_str().and_then(day).ok_or_else(wrong)?;
            Ok(Value::String(day.to_string()))
        }
        FieldType::Datetime => {
            let time = value
                .as_str()
                .and_then(|text| text.parse().ok())
                .ok_or_else(wrong)?;
            Ok(Value::String(stamp(time)))
        }
        _ => text(field, value).ok_or_else(wrong)?,
    }
}

/// `2024-05-31T09:30:00.000+0000`: the vendor's form, without a colon in the offset.
pub(super) fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string()
}

/// Reads a stored stamp back.
pub(super) fn time_of(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i64> {
    let number = match value {
        Value::String(text) => return text.trim().parse().ok(),
        other => other.as_f64()?,
    };
    // Past 2^53 a number in JSON is no longer the number that was meant.
    (number.fract() == 0.0 && number.abs() <= 9.0e15).then_some(number as i64)
}

fn decimal(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite()),
        other => other.as_f64(),
    }
}

fn day(text: &str) -> Option<Date> {
    // A date-time is taken for a date field, its time is dropped.
    text.get(..10)?.parse().ok()
}

fn text(field: &FieldDef, value: &Value) -> Option<Result<Value, Refusal>> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    };
    if text.is_empty() {
        return Some(Ok(Value::Null));
    }
    Some(checked_text(field, text))
}

fn checked_text(field: &FieldDef, text: String) -> Result<Value, Refusal> {
    let longest = field.length as usize;
    if !field.kind.is_id() && longest > 0 && text.chars().count() > longest {
        return Err(too_long(field, &text));
    }
    if field.kind == FieldType::Email {
        if !is_email(&text) {
            let message = format!("{}: invalid email address: {text}", field.label);
            return Err(Refusal::data(
                "INVALID_EMAIL_ADDRESS",
                message,
                &[&field.name],
            ));
        }
        // Emails are stored in lower case, whatever was sent.
        return Ok(Value::String(text.to_lowercase()));
    }
    let text = match field.kind {
        FieldType::Multipicklist => selected(field, &text),
        _ => text,
    };
    let mut given = match field.kind {
        FieldType::Multipicklist => text.split(';').collect(),
        _ => vec![text.as_str()],
    };
    given.retain(|value| !field.picklist.iter().any(|known| known == value));
    if let (true, Some(unknown)) = (field.restricted, given.first()) {
        let message = format!(
            "{}: bad value for restricted picklist field: {unknown}",
            field.label
        );
        let code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST";
        return Err(Refusal::data(code, message, &[&field.name]));
    }
    Ok(Value::String(text))
}

/// Each value once, those of the list in its order and the others after them.
fn selected(field: &FieldDef, text: &str) -> String {
    let mut values: Vec<&str> = Vec::new();
    for value in text.split(';').map(str::trim).filter(|it| !it.is_empty()) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    let place = |value: &&str| field.picklist.iter().position(|known| known == value);
    values.sort_by_key(|value| place(value).unwrap_or(usize::MAX));
    values.join(";")
}

fn too_long(field: &FieldDef, text: &str) -> Refusal {
    let start: String = text.chars().take(255).collect();
    let message = format!(
        "{}: data value too large: {start} (max length={})",
        field.label, field.length
    );
    Refusal::data("STRING_TOO_LONG", message, &[&field.name])
}

fn is_email(text: &str) -> bool {
    let Some((user, host)) = text.rsplit_once('@') else {
        return false;
    };
    let host_fits = host
        .split('.')
        .all(|label| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-'));
    !user.is_empty()
        && host_fits
        && host.contains('.')
        && !user.chars().any(|c| c.is_whitespace() || c == '@')
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().take(80).collect(),
        other => other.to_string().chars().take(80).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::schema::Schema;

    fn check(object: &str, field: &str, value: Value) -> Result<Value, String> {
        let schema = Schema::standard(Timestamp::UNIX_EPOCH);
        let field = schema.object(object).unwrap().field(field).unwrap().clone();
        coerce(&field, &value).map_err(|refusal| refusal.errors[0].code.clone())
    }

    #[test]
    fn values_are_stored_in_the_vendors_form() {
        let morning = Ok(json!("2026-01-31T08:00:00.000+0000"));
        for (object, field, sent, stored) in [
            (
                "Contact",
                "Email",
                json!("Ann@Example.COM"),
                Ok(json!("ann@example.com")),
            ),
            ("Contact", "FirstName", json!(""), Ok(Value::Null)),
            (
                "Opportunity",
                "CloseDate",
                json!("2026-01-31"),
                Ok(json!("2026-01-31")),
            ),
            ("Opportunity", "Amount", json!(5), Ok(json!(5.0))),
            (
                "Account",
                "NumberOfEmployees",
                json!("10000"),
                Ok(json!(10000)),
            ),
            (
                "Event",
                "StartDateTime",
                json!("2026-01-31T10:00:00+02:00"),
                morning.clone(),
            ),
            (
                "Event",
                "StartDateTime",
                json!("2026-01-31T08:00:00.000+0000"),
                morning.clone(),
            ),
            (
                "Event",
                "StartDateTime",
                json!("2026-01-31T08:00:00.999Z"),
                morning,
            ),
        ] {
            assert_eq!(check(object, field, sent), stored, "{object}.{field}");
        }
    }

    #[test]
    fn values_of_the_wrong_kind_are_refused() {
        for (object, field, sent, code) in [
            (
                "Opportunity",
                "CloseDate",
                json!("31.01.2026"),
                "JSON_PARSER_ERROR",
            ),
            ("Opportunity", "Amount", json!("much"), "JSON_PARSER_ERROR"),
            (
                "Account",
                "NumberOfEmployees",
                json!(1.5),
                "JSON_PARSER_ERROR",
            ),
            ("Contact", "FirstName", json!({}), "JSON_PARSER_ERROR"),
            ("Contact", "Email", json!("nobody"), "INVALID_EMAIL_ADDRESS"),
            (
                "Contact",
                "FirstName",
                json!("x".repeat(41)),
                "STRING_TOO_LONG",
            ),
        ] {
            assert_eq!(
                check(object, field, sent),
                Err(code.to_owned()),
                "{object}.{field}"
            );
        }
    }
}
