//! A value as a side takes it, or why it does not.

use jiff::{civil::Date, tz::TimeZone};
use serde_json::{Value, json};

use super::datum::Datum;
use crate::{
    metadata::{TemplateField, ValueKind},
    records::FieldShape,
};

/// The farthest from zero that the CRM's whole numbers go.
const WHOLE: f64 = 2_147_483_647.0;
/// Between options in one text.
const BETWEEN: char = ';';

/// The value for a metadata field; `None` takes it away.
pub(super) fn for_box(
    datum: Option<&Datum>,
    field: &TemplateField,
) -> Result<Option<Value>, String> {
    let Some(datum) = datum else {
        return Ok(None);
    };
    if let Datum::Misfit(_) = datum {
        return Err(format!("`{}` does not fit", short(datum)));
    }
    let is_option = |text: &str| match field.options.iter().any(|option| option == text) {
        true => Ok(()),
        false => Err(format!("`{}` is no option of the template", cut(text))),
    };
    Ok(Some(match field.kind {
        ValueKind::String => datum.text().into(),
        ValueKind::Float => number(datum)?,
        ValueKind::Date => match datum {
            Datum::Day(day) => format!("{day}T00:00:00.000Z").into(),
            _ => return Err(format!("`{}` is no date", short(datum))),
        },
        ValueKind::Enum => {
            let text = datum.text();
            is_option(&text)?;
            text.into()
        }
        ValueKind::MultiSelect => match datum {
            Datum::Choices(all) => {
                all.iter().try_for_each(|text| is_option(text))?;
                json!(all)
            }
            _ => return Err(format!("`{}` is no selection", short(datum))),
        },
    }))
}

/// The value for a record's field.
pub(super) fn for_salesforce(datum: Option<&Datum>, field: &FieldShape) -> Result<Value, String> {
    if !field.is_writable {
        return Err("we may not write the field".to_owned());
    }
    let Some(datum) = datum else {
        return match field.kind.as_str() {
            // It has no third state.
            "boolean" => Ok(false.into()),
            _ if field.is_nillable => Ok(Value::Null),
            _ => Err("the field cannot be empty".to_owned()),
        };
    };
    if let Datum::Misfit(_) = datum {
        return Err(format!("`{}` does not fit a {}", short(datum), field.kind));
    }
    match field.kind.as_str() {
        "double" | "currency" | "percent" => {
            digits(datum, field)?;
            number(datum)
        }
        "int" | "long" => {
            digits(datum, field)?;
            whole(datum)
        }
        "date" => match datum {
            Datum::Day(day) => Ok(known(*day)?.to_string().into()),
            _ => Err(format!("`{}` is no date", short(datum))),
        },
        "datetime" => match datum {
            Datum::Day(day) => Ok(format!("{}T00:00:00Z", known(*day)?).into()),
            Datum::Moment(at) => {
                known(TimeZone::UTC.to_datetime(*at).date())?;
                Ok(at.to_string().into())
            }
            _ => Err(format!("`{}` is no time", short(datum))),
        },
        "boolean" => match datum {
            Datum::Flag(flag) => Ok((*flag).into()),
            _ => Err(format!("`{}` is neither true nor false", short(datum))),
        },
        "picklist" => {
            let text = datum.text();
            choice(&text, field)?;
            Ok(text.into())
        }
        "multipicklist" => match datum {
            Datum::Choices(all) => {
                all.iter().try_for_each(|text| choice(text, field))?;
                selection(datum, field)
            }
            _ => Err(format!("`{}` is no selection", short(datum))),
        },
        _ => selection(datum, field),
    }
}

fn selection(datum: &Datum, field: &FieldShape) -> Result<Value, String> {
    if let Datum::Choices(all) = datum
        && let Some(text) = all.iter().find(|it| it.contains(BETWEEN))
    {
        return Err(format!("`{}` has a `{BETWEEN}` in it", cut(text)));
    }
    let text = datum.text();
    let (long, longest) = (text.chars().count(), field.longest as usize);
    if longest > 0 && long > longest {
        return Err(format!(
            "the text has {long} characters and the field takes {longest}"
        ));
    }
    Ok(text.into())
}

/// Also an unrestricted picklist takes only what is in it: a slip of the pen would be stored
/// without a word and be missing from every report.
fn choice(text: &str, field: &FieldShape) -> Result<(), String> {
    match field.choices.iter().any(|choice| choice == text) {
        true => Ok(()),
        false => Err(format!("`{}` is no choice of the picklist", cut(text))),
    }
}

/// The CRM's calendar.
fn known(day: Date) -> Result<Date, String> {
    match (1700..=4000).contains(&day.year()) {
        true => Ok(day),
        false => Err(format!("{day} is outside the years 1700 to 4000")),
    }
}

/// The CRM refuses too many digits before the point, and drops those after it that it has no room
/// for.
fn digits(datum: &Datum, field: &FieldShape) -> Result<(), String> {
    let (Datum::Number(text), Some((before, after))) = (datum, field.digits) else {
        return Ok(());
    };
    let plain = text.trim_start_matches('-');
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let whole = whole.trim_start_matches('0').len();
    if whole > before as usize {
        return Err(format!(
            "`{text}` has {whole} digits before the point and the field takes {before}"
        ));
    }
    if fraction.len() > after as usize {
        return Err(format!(
            "`{text}` has {} decimals and the field takes {after}",
            fraction.len()
        ));
    }
    Ok(())
}

fn number(datum: &Datum) -> Result<Value, String> {
    let number = match datum {
        Datum::Number(text) => text.parse().ok(),
        _ => None,
    };
    let number = number.and_then(serde_json::Number::from_f64);
    number
        .map(Value::Number)
        .ok_or_else(|| format!("`{}` is no number", short(datum)))
}

fn whole(datum: &Datum) -> Result<Value, String> {
    match number(datum)?.as_f64() {
        Some(number) if number.fract() == 0.0 && number.abs() <= WHOLE => {
            // Within the limits above nothing is lost.
            Ok(Value::from(number as i64))
        }
        _ => Err(format!("`{}` is no whole number", short(datum))),
    }
}

fn short(datum: &Datum) -> String {
    cut(&datum.text())
}

/// Reasons are for people, and some texts are long.
fn cut(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::sync::datum::Form;

    fn field(kind: &str, longest: u32, choices: &[&str]) -> FieldShape {
        FieldShape {
            name: "F".into(),
            kind: kind.into(),
            longest,
            digits: None,
            is_writable: true,
            is_nillable: true,
            choices: choices.iter().map(|it| (*it).to_owned()).collect(),
            only_choices: false,
        }
    }

    fn over(kind: ValueKind, value: Value, to: &FieldShape) -> Result<Value, String> {
        let form = Form::of(kind, &to.kind).unwrap();
        for_salesforce(form.read(Some(&value)).as_ref(), to)
    }

    fn back(value: Value, from: &str, kind: ValueKind) -> Result<Option<Value>, String> {
        let field = TemplateField::new("k", kind)
            .with_options(["a", "b", "true"].map(str::to_owned).into());
        for_box(
            Form::of(kind, from).unwrap().read(Some(&value)).as_ref(),
            &field,
        )
    }

    #[test]
    fn texts_fit_to_the_last_character_and_no_further() {
        for longest in [255_u32, 32_768] {
            let to = field("textarea", longest, &[]);
            let fits = "ü".repeat(longest as usize);
            let long = format!("{fits}ü");
            assert_eq!(
                over(ValueKind::String, fits.clone().into(), &to),
                Ok(fits.into())
            );
            let refused = over(ValueKind::String, long.into(), &to).unwrap_err();
            assert!(refused.contains(&longest.to_string()), "{refused}");
        }
    }

    #[test]
    fn numbers_fit_or_are_refused_with_the_reason() {
        use ValueKind::{Float, String};
        for (kind, value, to, result) in [
            (Float, json!(1.5), "currency", Ok(json!(1.5))),
            (String, json!("-2.50"), "double", Ok(json!(-2.5))),
            (Float, json!(1e15), "percent", Ok(json!(1e15))),
            (Float, json!(2_147_483_647), "int", Ok(json!(2_147_483_647))),
            (Float, json!(2_147_483_648_u32), "int", Err("whole number")),
            (Float, json!(1.5), "int", Err("whole number")),
            (String, json!("many"), "double", Err("does not fit")),
        ] {
            match (over(kind, value, &field(to, 0, &[])), result) {
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
                (one, other) => assert_eq!(one.ok(), other.ok()),
            }
        }
        let mut money = field("currency", 0, &[]);
        money.digits = Some((4, 2));
        for (value, result) in [
            (json!(9999.99), None),
            (json!(0.05), None),
            (json!(-9999), None),
            (json!(10_000), Some("5 digits")),
            (json!(0.125), Some("3 decimals")),
        ] {
            let refused = over(Float, value, &money).err();
            let is_it = |part| refused.as_ref().is_some_and(|it| it.contains(part));
            assert!(result.map_or(refused.is_none(), is_it), "{refused:?}");
        }
        assert_eq!(
            back(json!(7.0), "int", ValueKind::String),
            Ok(Some(json!("7")))
        );
        assert_eq!(
            back(json!("7.25"), "string", ValueKind::Float),
            Ok(Some(json!(7.25)))
        );
        assert!(back(json!("x"), "string", ValueKind::Float).is_err());
    }

    #[test]
    fn days_and_times_go_over_in_each_sides_form() {
        use ValueKind::{Date, String};
        let day = json!("2024-02-29T00:00:00.000Z");
        let to = |kind| field(kind, 0, &[]);
        assert_eq!(
            over(Date, day.clone(), &to("date")),
            Ok(json!("2024-02-29"))
        );
        assert_eq!(
            over(Date, day.clone(), &to("datetime")),
            Ok(json!("2024-02-29T00:00:00Z"))
        );
        assert_eq!(
            over(String, json!("2024-02-29T10:00:00+02:00"), &to("datetime")),
            Ok(json!("2024-02-29T08:00:00Z"))
        );
        for (from, value) in [
            ("date", json!("2024-02-29")),
            ("datetime", json!("2024-02-29T23:30:00.000+0000")),
        ] {
            assert_eq!(back(value, from, Date), Ok(Some(day.clone())), "{from}");
        }
        assert!(over(Date, json!("2023-02-29"), &to("date")).is_err());
        for (kind, value, crm) in [
            (Date, json!("0202-02-28"), "date"),
            (Date, json!("4001-01-01"), "datetime"),
            (String, json!("1699-12-31T23:59:59Z"), "datetime"),
        ] {
            let refused = over(kind, value, &to(crm)).unwrap_err();
            assert!(refused.contains("1700"), "{refused}");
        }
    }

    #[test]
    fn only_what_can_be_chosen_is_chosen() {
        use ValueKind::{Enum, MultiSelect, String};
        let one = field("picklist", 255, &["Open", "Closed Won"]);
        assert_eq!(
            over(Enum, json!("Closed Won"), &one),
            Ok(json!("Closed Won"))
        );
        let refused = over(String, json!("Closed Wno"), &one).unwrap_err();
        assert!(refused.contains("Closed Wno"), "{refused}");

        let some = field("multipicklist", 4099, &["a", "b", "c;d"]);
        assert_eq!(
            over(MultiSelect, json!(["b", "a"]), &some),
            Ok(json!("a;b"))
        );
        assert!(over(MultiSelect, json!(["a", "z"]), &some).is_err());
        assert!(over(MultiSelect, json!(["a", "c;d"]), &some).is_err());

        assert_eq!(
            back(json!("b;a"), "multipicklist", MultiSelect),
            Ok(Some(json!(["a", "b"])))
        );
        assert!(back(json!("a;z"), "multipicklist", MultiSelect).is_err());
        assert!(back(json!("z"), "picklist", Enum).is_err());
        assert_eq!(back(json!(true), "boolean", Enum), Ok(Some(json!("true"))));
        assert!(back(json!(false), "boolean", Enum).is_err());
    }

    #[test]
    fn nothing_empties_a_field_that_may_be_empty() {
        let mut to = field("string", 80, &[]);
        assert_eq!(over(ValueKind::String, json!(""), &to), Ok(Value::Null));
        to.is_nillable = false;
        assert!(over(ValueKind::String, json!(null), &to).is_err());
        to.is_writable = false;
        assert!(over(ValueKind::String, json!("a"), &to).is_err());
        let to = field("boolean", 0, &[]);
        assert_eq!(
            over(ValueKind::String, json!(null), &to),
            Ok(json!(false)),
            "a checkbox is not ticked rather than empty"
        );
    }

    /// Every pair of types that go together, as Box and the CRM name them.
    const PAIRS: [(ValueKind, &str); 17] = [
        (ValueKind::String, "string"),
        (ValueKind::String, "textarea"),
        (ValueKind::String, "email"),
        (ValueKind::String, "picklist"),
        (ValueKind::String, "boolean"),
        (ValueKind::String, "currency"),
        (ValueKind::String, "int"),
        (ValueKind::String, "date"),
        (ValueKind::String, "datetime"),
        (ValueKind::String, "multipicklist"),
        (ValueKind::Float, "double"),
        (ValueKind::Float, "string"),
        (ValueKind::Date, "date"),
        (ValueKind::Date, "datetime"),
        (ValueKind::Enum, "picklist"),
        (ValueKind::MultiSelect, "multipicklist"),
        (ValueKind::MultiSelect, "string"),
    ];

    fn values(kind: ValueKind, crm: &str) -> BoxedStrategy<Value> {
        let options = || proptest::sample::subsequence(vec!["a", "b", "true"], 1..=3);
        let number = || {
            let cents = (-99_999_999_999_i64..99_999_999_999).prop_map(|it| it as f64 / 100.0);
            prop_oneof![
                cents,
                (-2_000_000_000_i32..2_000_000_000).prop_map(f64::from)
            ]
        };
        let day = || (1700_i16..=4000, 1_i8..=12, 1_i8..=28);
        match (kind, crm) {
            (_, "multipicklist") | (ValueKind::MultiSelect, _) => {
                options().prop_map(|all| all.join(";").into()).boxed()
            }
            (ValueKind::Enum, _) | (_, "picklist") => {
                prop_oneof!["a", "b", "true"].prop_map(Value::from).boxed()
            }
            (_, "boolean") => any::<bool>().prop_map(Value::from).boxed(),
            (_, "int") => (-2_000_000_000_i32..2_000_000_000)
                .prop_map(Value::from)
                .boxed(),
            (_, "currency" | "double") => number().prop_map(Value::from).boxed(),
            (ValueKind::Float, _) => number().prop_map(|it| it.to_string().into()).boxed(),
            (_, "date") | (ValueKind::Date, "datetime") => day()
                .prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}").into())
                .boxed(),
            (_, "datetime") => (0_i64..4_000_000_000)
                .prop_map(|it| Timestamp::from_second(it).unwrap().to_string().into())
                .boxed(),
            _ => "[ -~äß漢\n]{1,40}".prop_map(Value::from).boxed(),
        }
    }

    proptest! {
        /// Whichever side it was written to, a value is read back as the same one, and would be
        /// written in the same words again.
        #[test]
        fn what_is_carried_over_is_read_as_the_same_value_on_both_sides(
            (kind, crm, value) in proptest::sample::select(PAIRS.to_vec()).prop_flat_map(
                |(kind, crm)| (Just(kind), Just(crm), values(kind, crm))
            ),
        ) {
            let form = Form::of(kind, crm).unwrap();
            let mut to = field(crm, 255, &["a", "b", "true"]);
            to.digits = (crm == "currency").then_some((16, 2));
            let key = TemplateField::new("k", kind)
                .with_options(["a", "b", "true", "false"].map(str::to_owned).into());
            let datum = form.read(Some(&value));
            prop_assert!(!matches!(datum, Some(Datum::Misfit(_))), "{datum:?}");
            let in_salesforce = for_salesforce(datum.as_ref(), &to).unwrap();
            let read = form.read(Some(&in_salesforce));
            prop_assert_eq!(&read, &datum);
            let in_box = for_box(read.as_ref(), &key).unwrap();
            let back = form.read(in_box.as_ref());
            prop_assert_eq!(&back, &datum);
            prop_assert_eq!(for_salesforce(back.as_ref(), &to).unwrap(), in_salesforce);
        }
    }
}
