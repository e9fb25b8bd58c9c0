//! JSON Patch on the values of a metadata instance. All or nothing.

use serde_json::{Map, Value};

use super::answer::Refused;

pub(super) fn apply(
    values: &Map<String, Value>,
    patch: &Value,
) -> Result<Map<String, Value>, Refused> {
    let operations = patch
        .as_array()
        .ok_or_else(|| malformed("an array of operations"))?;
    let mut result = values.clone();
    for operation in operations {
        step(&mut result, operation)?;
    }
    Ok(result)
}

fn step(values: &mut Map<String, Value>, operation: &Value) -> Result<(), Refused> {
    let key = |member: &str| {
        let pointer = operation.get(member).and_then(Value::as_str);
        pointer.ok_or_else(|| malformed(member)).and_then(field)
    };
    let value = || {
        operation
            .get("value")
            .cloned()
            .ok_or_else(|| malformed("value"))
    };
    let path = key("path")?;
    match operation.get("op").and_then(Value::as_str) {
        Some("add") => {
            values.insert(path, value()?);
        }
        Some("replace") => {
            let slot = values.get_mut(&path).ok_or_else(|| absent(&path))?;
            *slot = value()?;
        }
        Some("remove") => {
            values.remove(&path).ok_or_else(|| absent(&path))?;
        }
        Some("test") => {
            let expected = value()?;
            if !values
                .get(&path)
                .is_some_and(|found| same(found, &expected))
            {
                return Err(failed("value differs from expectations"));
            }
        }
        Some("move") => {
            let from = key("from")?;
            let moved = values.remove(&from).ok_or_else(|| absent(&from))?;
            values.insert(path, moved);
        }
        Some("copy") => {
            let from = key("from")?;
            let copied = values.get(&from).cloned().ok_or_else(|| absent(&from))?;
            values.insert(path, copied);
        }
        _ => return Err(malformed("op")),
    }
    Ok(())
}

/// The field that a JSON Pointer names. Instances are flat, and what begins with `$` is Box's.
fn field(pointer: &str) -> Result<String, Refused> {
    let key = pointer.strip_prefix('/').ok_or_else(|| malformed("path"))?;
    if key.contains('/') || key.starts_with('$') || key.is_empty() {
        return Err(malformed("path"));
    }
    Ok(key.replace("~1", "/").replace("~0", "~"))
}

fn same(one: &Value, other: &Value) -> bool {
    one == other || (one.is_number() && one.as_f64() == other.as_f64())
}

fn malformed(what: &str) -> Refused {
    Refused::metadata(400, "bad_request", format!("invalid JSON patch: '{what}'"))
}

fn absent(key: &str) -> Refused {
    failed(&format!("there is no value at '/{key}'"))
}

fn failed(message: &str) -> Refused {
    Refused::metadata(409, "failed_json_patch_application", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn patched(patch: Value) -> Result<Value, (u16, String)> {
        let values = json!({ "stage": "Open", "amount": 5.0, "a/b": "x" });
        apply(values.as_object().unwrap(), &patch)
            .map(Value::from)
            .map_err(|refused| (refused.status(), refused.code().to_owned()))
    }

    #[test]
    fn operations_follow_rfc_6902() {
        for (patch, expected) in [
            (
                json!([]),
                json!({ "stage": "Open", "amount": 5.0, "a/b": "x" }),
            ),
            (
                json!([{ "op": "add", "path": "/stage", "value": "Won" }]),
                json!({ "stage": "Won", "amount": 5.0, "a/b": "x" }),
            ),
            (
                json!([{ "op": "test", "path": "/amount", "value": 5 }, { "op": "remove", "path": "/amount" }]),
                json!({ "stage": "Open", "a/b": "x" }),
            ),
            (
                json!([{ "op": "move", "from": "/stage", "path": "/state" }]),
                json!({ "state": "Open", "amount": 5.0, "a/b": "x" }),
            ),
            (
                json!([{ "op": "copy", "from": "/a~1b", "path": "/c" }]),
                json!({ "stage": "Open", "amount": 5.0, "a/b": "x", "c": "x" }),
            ),
        ] {
            assert_eq!(patched(patch.clone()), Ok(expected), "{patch}");
        }
    }

    #[test]
    fn what_cannot_be_applied_is_a_conflict_and_what_is_no_patch_is_a_bad_request() {
        let conflict = (409, "failed_json_patch_application".to_owned());
        let bad = (400, "bad_request".to_owned());
        for (patch, error) in [
            (
                json!([{ "op": "test", "path": "/stage", "value": "Won" }]),
                &conflict,
            ),
            (
                json!([{ "op": "replace", "path": "/none", "value": 1 }]),
                &conflict,
            ),
            (json!([{ "op": "remove", "path": "/none" }]), &conflict),
            (
                json!([{ "op": "move", "from": "/none", "path": "/x" }]),
                &conflict,
            ),
            (json!([{ "op": "add", "path": "/x" }]), &bad),
            (json!([{ "op": "upsert", "path": "/x", "value": 1 }]), &bad),
            (
                json!([{ "op": "test", "path": "/$version", "value": 1 }]),
                &bad,
            ),
            (json!([{ "op": "add", "path": "x", "value": 1 }]), &bad),
            (json!({}), &bad),
        ] {
            assert_eq!(patched(patch.clone()).as_ref(), Err(error), "{patch}");
        }
    }
}
