//! A set of sequence numbers that grows from below: a floor, and ranges above it.

use std::collections::BTreeMap;

/// Everything up to the floor, and inclusive ranges that neither touch it nor each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    floor: u64,
    above: BTreeMap<u64, u64>,
}

impl Ranges {
    pub(crate) fn up_to(floor: u64) -> Self {
        Self {
            floor,
            above: BTreeMap::new(),
        }
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        seq <= self.floor
            || (self.above.range(..=seq).next_back()).is_some_and(|(_, &hi)| seq <= hi)
    }

    /// Adds `lo..=hi`; nothing if that is empty.
    pub(crate) fn insert(&mut self, lo: u64, hi: u64) {
        if lo > hi || hi <= self.floor {
            return;
        }
        if lo <= self.floor + 1 {
            self.floor = hi;
            self.swallow();
            return;
        }
        let (mut lo, mut hi) = (lo, hi);
        if let Some((&left, &left_hi)) = self.above.range(..=lo).next_back()
            && left_hi + 1 >= lo
        {
            lo = left;
            hi = hi.max(left_hi);
        }
        while let Some((&right, &right_hi)) = self.above.range(lo + 1..).next()
            && right <= hi + 1
        {
            self.above.remove(&right);
            hi = hi.max(right_hi);
        }
        self.above.insert(lo, hi);
    }

    /// The ranges that begin at or below `top`, ascending.
    pub(crate) fn above(&self, top: u64) -> impl Iterator<Item = (u64, u64)> {
        self.above.range(..=top).map(|(&lo, &hi)| (lo, hi))
    }

    fn swallow(&mut self) {
        while let Some(first) = self.above.first_entry()
            && *first.key() <= self.floor + 1
        {
            self.floor = self.floor.max(first.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set(
            floor in 0_u64..20,
            inserts in proptest::collection::vec((1_u64..80, 0_u64..12), 0..40),
        ) {
            let mut ranges = Ranges::up_to(floor);
            let mut model: BTreeSet<u64> = (1..=floor).collect();
            for (lo, length) in inserts {
                // A length of zero makes an empty range.
                ranges.insert(lo, lo + length - 1);
                model.extend(lo..lo + length);
                for seq in 1..100 {
                    prop_assert_eq!(ranges.contains(seq), model.contains(&seq));
                }
                let floor = (1..).take_while(|seq| model.contains(seq)).last().unwrap_or(0);
                prop_assert_eq!(ranges.floor(), floor);
                // Neither touching the floor nor each other.
                let mut end = floor;
                for (lo, hi) in ranges.above(u64::MAX) {
                    prop_assert!(lo > end + 1 && hi >= lo);
                    end = hi;
                }
            }
        }
    }
}
