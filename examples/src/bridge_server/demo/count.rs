//! The end of the story: what both sides hold, beside what was promised.

use std::fmt::Display;

use comfy_table::{Table, presets::NOTHING};

/// One promise.
pub(super) struct Count {
    what: String,
    promised: String,
    found: String,
}

impl Count {
    pub(super) fn new(
        what: impl Into<String>,
        promised: impl Display,
        found: impl Display,
    ) -> Self {
        Self {
            what: what.into(),
            promised: promised.to_string(),
            found: found.to_string(),
        }
    }
}

/// The table, and everything in it that is not as it should be.
pub(super) fn table(jobs: &[(&str, Vec<Count>)]) -> (Table, Vec<String>) {
    let mut table = Table::new();
    let mut wrong = Vec::new();
    table.load_style(NOTHING);
    for (job, counts) in jobs {
        for (number, count) in counts.iter().enumerate() {
            let Count {
                what,
                promised,
                found,
            } = count;
            let verdict = match promised == found {
                true => "as promised",
                false => {
                    wrong.push(format!("{what}: {found} instead of {promised}"));
                    "NOT as promised"
                }
            };
            let job = if number == 0 { *job } else { "" };
            table.add_row([job, what, found, verdict]);
        }
    }
    (table, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_promised_is_named() {
        let counts = vec![Count::new("files", 1, 1), Count::new("links", 2, 3)];
        let (table, wrong) = table(&[("a job", counts)]);
        assert_eq!(wrong, ["links: 3 instead of 2"]);
        assert!(table.to_string().contains("files"));
    }
}
