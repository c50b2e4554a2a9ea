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

    /// All of them, the part up to the floor too, ascending.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, u64)> {
        let first = (self.floor > 0).then_some((1, self.floor));
        first.into_iter().chain(self.above(u64::MAX))
    }

    /// What is in here and not in `other`, ascending.
    pub(crate) fn minus(&self, other: &Self) -> Vec<(u64, u64)> {
        let mut left = Vec::new();
        let mut others = other.all().peekable();
        for (mut lo, hi) in self.all() {
            while others.next_if(|it| it.1 < lo).is_some() {}
            // One that reaches beyond `hi` may reach into the next range, too.
            while let Some(&(other_lo, other_hi)) = others.peek()
                && other_lo <= hi
            {
                if lo < other_lo {
                    left.push((lo, other_lo - 1));
                }
                lo = other_hi.saturating_add(1);
                if lo > hi {
                    break;
                }
                others.next();
            }
            if lo <= hi {
                left.push((lo, hi));
            }
        }
        left
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

    fn ranges(floor: u64, inserts: &[(u64, u64)]) -> Ranges {
        let mut ranges = Ranges::up_to(floor);
        for (lo, length) in inserts {
            ranges.insert(*lo, lo + length);
        }
        ranges
    }

    proptest! {
        #[test]
        fn a_difference_has_what_one_has_and_the_other_has_not(
            (one, other) in (0_u64..20, 0_u64..20),
            of_one in proptest::collection::vec((1_u64..80, 0_u64..12), 0..12),
            of_other in proptest::collection::vec((1_u64..80, 0_u64..12), 0..12),
        ) {
            let (one, other) = (ranges(one, &of_one), ranges(other, &of_other));
            let left = one.minus(&other);
            for seq in 1..100 {
                let found = left.iter().any(|&(lo, hi)| lo <= seq && seq <= hi);
                prop_assert_eq!(found, one.contains(seq) && !other.contains(seq), "{}", seq);
            }
            prop_assert!(left.is_sorted() && left.iter().all(|(lo, hi)| lo <= hi));
        }

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
