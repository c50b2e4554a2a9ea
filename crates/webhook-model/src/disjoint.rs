//! Turns a subscription's patterns into filters no two of which match the same topic, so that one
//! bus consumer a filter delivers every event once.

use crate::{Topic, TopicPattern};

/// What one bus consumer of a subscription asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Filter {
    /// The subject filter that the bus evaluates.
    pub cover: TopicPattern,
    /// The patterns within the cover that were asked for; empty when that is all of it.
    pub patterns: Vec<TopicPattern>,
}

impl Filter {
    /// Whether an event that the bus handed out under the cover was really asked for.
    pub fn matches(&self, topic: &Topic) -> bool {
        self.cover.matches(topic)
            && (self.patterns.is_empty() || self.patterns.iter().any(|p| p.matches(topic)))
    }
}

/// All of what one pattern matches.
impl From<TopicPattern> for Filter {
    fn from(cover: TopicPattern) -> Self {
        Self {
            cover,
            patterns: Vec::new(),
        }
    }
}

/// The fewest filters that are pairwise disjoint and together match what the patterns match.
///
/// A covered pattern disappears into the one that covers it; patterns that merely overlap share
/// one filter on their common cover. The result is sorted, so equal sets give equal lists.
pub fn disjoint(patterns: &[TopicPattern]) -> Vec<Filter> {
    let mut groups: Vec<(TopicPattern, Vec<TopicPattern>)> = Vec::new();
    for pattern in patterns {
        let mut group = (pattern.clone(), vec![pattern.clone()]);
        // A widened cover may reach groups that the narrower one missed.
        while let Some(index) = groups
            .iter()
            .position(|(cover, _)| cover.overlaps(&group.0))
        {
            let (cover, members) = groups.swap_remove(index);
            group.0 = group.0.common_cover(&cover);
            group.1.extend(members);
        }
        groups.push(group);
    }
    let mut filters: Vec<Filter> = groups
        .into_iter()
        .map(|(cover, members)| Filter {
            patterns: maximal(&cover, members),
            cover,
        })
        .collect();
    filters.sort();
    filters
}

/// The one filter that matches what the patterns match, on the common cover of them all; none
/// without patterns. For what must come through a single consumer.
pub fn joint(patterns: &[TopicPattern]) -> Option<Filter> {
    let (first, rest) = patterns.split_first()?;
    let cover = rest
        .iter()
        .fold(first.clone(), |cover, pattern| cover.common_cover(pattern));
    Some(Filter {
        patterns: maximal(&cover, patterns.to_vec()),
        cover,
    })
}

/// Drops patterns that another one covers; an empty list when one of them is the cover itself.
fn maximal(cover: &TopicPattern, mut members: Vec<TopicPattern>) -> Vec<TopicPattern> {
    members.sort();
    members.dedup();
    if members.contains(cover) {
        return Vec::new();
    }
    let all = members.clone();
    members.retain(|m| !all.iter().any(|other| other != m && other.covers(m)));
    members
}

#[cfg(test)]
mod tests;
