/// `Content-Range`: both ends included.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct ContentRange {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) total: Option<u64>,
}

impl ContentRange {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let total = match total {
            "*" => None,
            total => Some(total.parse().ok()?),
        };
        let sound = first <= last && last < total.unwrap_or(u64::MAX);
        sound.then_some(Self { first, last, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_or_refused() {
        let range = |text| ContentRange::parse(text).map(|r| (r.first, r.last, r.total));
        assert_eq!(range("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, 9, None)));
        for bad in [
            "",
            "bytes */10",
            "5-9/10",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "bytes 5-9/x",
            "bytes 5-18446744073709551615/*",
            "bytes a-b/c",
        ] {
            assert!(range(bad).is_none(), "{bad}");
        }
    }
}
