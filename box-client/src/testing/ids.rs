//! Ids in the ranges that Box's look like, the same at every run.

use std::fmt::Write as _;

#[derive(Debug)]
pub(super) struct Ids {
    folder: u64,
    file: u64,
    version: u64,
    webhook: u64,
    collaboration: u64,
    lock: u64,
    user: u64,
    record: u64,
    seed: u64,
    drawn: u64,
}

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            folder: 100,
            file: 777_000_100,
            version: 888_000_100,
            webhook: 4_220_000_000,
            collaboration: 55_500,
            lock: 33_000,
            user: 44_000,
            record: 66_000,
            seed,
            drawn: 0,
        }
    }

    pub(super) fn folder(&mut self) -> String {
        next(&mut self.folder).to_string()
    }

    pub(super) fn file(&mut self) -> String {
        next(&mut self.file).to_string()
    }

    pub(super) fn version(&mut self) -> String {
        next(&mut self.version).to_string()
    }

    pub(super) fn webhook(&mut self) -> u64 {
        next(&mut self.webhook)
    }

    pub(super) fn collaboration(&mut self) -> u64 {
        next(&mut self.collaboration)
    }

    pub(super) fn lock(&mut self) -> String {
        next(&mut self.lock).to_string()
    }

    pub(super) fn user(&mut self) -> String {
        next(&mut self.user).to_string()
    }

    /// Of what people write down: groups, comments, tasks.
    pub(super) fn record(&mut self) -> String {
        next(&mut self.record).to_string()
    }

    pub(super) fn uuid(&mut self) -> String {
        let bits = (u128::from(self.draw()) << 64) | u128::from(self.draw());
        uuid::Builder::from_random_bytes(bits.to_be_bytes())
            .into_uuid()
            .to_string()
    }

    /// A token or an authorization code.
    pub(super) fn secret(&mut self) -> String {
        let mut text = String::with_capacity(32);
        for _ in 0..2 {
            // Writing to a string cannot fail.
            let _ = write!(text, "{:016x}", self.draw());
        }
        text
    }

    pub(super) fn request_id(&mut self) -> String {
        format!("{:016x}", self.draw())
    }

    fn draw(&mut self) -> u64 {
        scramble(self.seed, next(&mut self.drawn))
    }
}

/// The `index`-th number of the stream that `seed` names (SplitMix64, reached by position).
pub(super) fn scramble(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn next(counter: &mut u64) -> u64 {
    *counter += 1;
    *counter
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_another_seed_others() {
        let (mut one, mut same, mut other) = (Ids::new(1), Ids::new(1), Ids::new(1 << 40));
        let uuid = one.uuid();
        assert_eq!(uuid, same.uuid());
        assert_ne!(uuid, other.uuid());
        assert_ne!(uuid, one.uuid());
        assert!(Uuid::parse_str(&uuid).is_ok_and(|uuid| uuid.get_version_num() == 4));
    }
}
