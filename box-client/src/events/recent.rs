//! The ids of the last events, to leave out repeats.

use std::collections::{HashSet, VecDeque};

#[derive(Debug)]
pub(super) struct Recent {
    most: usize,
    order: VecDeque<String>,
    known: HashSet<String>,
}

impl Recent {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            order: VecDeque::new(),
            known: HashSet::new(),
        }
    }

    /// Whether it is not among the last ones, where it is from now on.
    pub(super) fn is_new(&mut self, id: &str) -> bool {
        if self.most == 0 {
            return true;
        }
        if !self.known.insert(id.to_owned()) {
            return false;
        }
        if self.order.len() == self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(id.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_known_as_long_as_they_are_remembered() {
        let mut recent = Recent::new(2);
        assert!(recent.is_new("a") && recent.is_new("b"));
        assert!(!recent.is_new("a") && !recent.is_new("b"));
        assert!(recent.is_new("c"), "the oldest makes room");
        assert!(!recent.is_new("b") && recent.is_new("a"));
        let mut none = Recent::new(0);
        assert!(none.is_new("a") && none.is_new("a"));
    }
}
