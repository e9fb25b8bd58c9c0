//! Members that come in more shapes than one.

use serde::{Deserialize, Deserializer};

/// Amounts can come as floats with an exponent (Box, "Large numbers"), and -1 stands for all.
pub(crate) fn lenient_integer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(deserializer)?;
    Ok(number.and_then(|number| {
        // 2^63: what lies beyond it is not told apart from it.
        let float = number.as_f64().filter(|float| float.abs() < 9.2e18);
        number.as_i64().or(float.map(|float| float as i64))
    }))
}

/// `null` where a list or a text is meant to be empty.
pub(crate) fn null_to_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
