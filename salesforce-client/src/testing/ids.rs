const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHECKSUM: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// The `number`-th id of the object with this key prefix, in its 18-character form.
pub(super) fn make(prefix: &str, number: u64) -> String {
    let mut digits = [b'0'; 10];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    let digits: String = digits.into_iter().map(char::from).collect();
    let short = format!("{prefix}5g{digits}");
    format!("{short}{}", checksum(&short))
}

/// The 18-character form of an id in either form; an 18-character id whose case
/// was damaged on the way is repaired from its checksum, as the vendor does.
pub(super) fn normalise(text: &str) -> Option<String> {
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    match text.len() {
        15 => Some(format!("{text}{}", checksum(text))),
        18 => {
            let (short, sum) = text.split_at(15);
            let sum = sum.to_ascii_uppercase();
            let short = restore_case(short, &sum)?;
            (checksum(&short) == sum).then(|| format!("{short}{sum}"))
        }
        _ => None,
    }
}

fn checksum(short: &str) -> String {
    let letter = |group: &[u8]| {
        let upper = group
            .iter()
            .enumerate()
            .filter(|(_, byte)| byte.is_ascii_uppercase());
        let bits = upper.fold(0, |bits, (place, _)| bits | 1 << place);
        char::from(CHECKSUM[bits])
    };
    short.as_bytes().chunks(5).map(letter).collect()
}

fn restore_case(short: &str, sum: &str) -> Option<String> {
    let mut restored = String::with_capacity(18);
    for (group, letter) in short.as_bytes().chunks(5).zip(sum.bytes()) {
        let bits = CHECKSUM.iter().position(|known| *known == letter)?;
        for (place, byte) in group.iter().enumerate() {
            let is_upper = bits & (1 << place) != 0;
            let byte = if is_upper {
                byte.to_ascii_uppercase()
            } else {
                byte.to_ascii_lowercase()
            };
            restored.push(char::from(byte));
        }
    }
    Some(restored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_ids_get_their_recorded_checksum() {
        for id in [
            "0015500001QdQWaAAN",
            "0065500000KQ12XAAT",
            "003P000001avB5GIAU",
            "005P000000AyPpYIAV",
            "0012300000bVTphAAG",
        ] {
            assert_eq!(normalise(&id[..15]).as_deref(), Some(id));
            assert_eq!(normalise(id).as_deref(), Some(id));
            assert_eq!(normalise(&id.to_ascii_lowercase()).as_deref(), Some(id));
        }
    }

    #[test]
    fn a_wrong_checksum_is_no_id() {
        assert_eq!(normalise("0015500001QdQWaZZZ"), None);
        assert_eq!(normalise("0015500001QdQW-"), None);
        assert_eq!(normalise(""), None);
    }

    #[test]
    fn made_ids_are_valid_and_ascend() {
        let (first, later) = (make("001", 1), make("001", 63));
        assert_eq!(normalise(&first), Some(first.clone()));
        assert!(first < later);
    }
}
