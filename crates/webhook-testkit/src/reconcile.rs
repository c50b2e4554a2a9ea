//! Compares what publishers were promised with what receivers got.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use crate::Received;

/// Findings named one by one in a report; the others are counted.
const SHOWN: usize = 20;

/// Expected deliveries, in the order they were published, and actual ones, in the order they
/// came; by subscription.
#[derive(Debug, Default, Clone)]
pub struct Reconciler {
    expected: BTreeMap<String, Vec<String>>,
    received: BTreeMap<String, Vec<String>>,
}

impl Reconciler {
    /// Nothing expected, nothing received.
    pub fn new() -> Self {
        Self::default()
    }

    /// A publisher was promised that this subscription gets this event.
    pub fn expect(&mut self, subscription: &str, id: &str) {
        push(&mut self.expected, subscription, id);
    }

    /// A receiver took this event.
    pub fn receive(&mut self, subscription: &str, id: &str) {
        push(&mut self.received, subscription, id);
    }

    /// The deliveries that a receiver answered with 2xx and whose signatures it could verify.
    pub fn receive_all<'a>(
        &mut self,
        subscription: &str,
        deliveries: impl IntoIterator<Item = &'a Received>,
    ) {
        for delivery in deliveries {
            if delivery.is_taken() {
                self.receive(subscription, delivery.event_id().unwrap_or_default());
            }
        }
    }

    /// Compares.
    pub fn report(&self) -> Report {
        let mut report = Report::default();
        let empty = Vec::new();
        let names = self.expected.keys().chain(self.received.keys());
        let names: std::collections::BTreeSet<_> = names.collect();
        for name in names {
            let expected = self.expected.get(name).unwrap_or(&empty);
            let received = self.received.get(name).unwrap_or(&empty);
            compare(name, expected, received, &mut report);
        }
        report
    }
}

fn push(lists: &mut BTreeMap<String, Vec<String>>, subscription: &str, id: &str) {
    match lists.get_mut(subscription) {
        Some(list) => list.push(id.to_owned()),
        None => {
            lists.insert(subscription.to_owned(), vec![id.to_owned()]);
        }
    }
}

fn compare(name: &str, expected: &[String], received: &[String], report: &mut Report) {
    let mut place = HashMap::new();
    for (at, id) in expected.iter().enumerate() {
        place.entry(id.as_str()).or_insert(at);
    }
    let finding = |id: &str| (name.to_owned(), id.to_owned());
    let mut times: HashMap<&str, usize> = HashMap::new();
    let mut furthest = None;
    for id in received {
        let seen = times.entry(id).or_default();
        *seen += 1;
        if *seen > 1 {
            report.duplicated.push(finding(id));
            continue;
        }
        match place.get(id.as_str()) {
            None => report.unexpected.push(finding(id)),
            Some(&at) if furthest.is_some_and(|furthest| at < furthest) => {
                report.out_of_order.push(finding(id));
            }
            Some(&at) => furthest = Some(at),
        }
    }
    report.expected += place.len();
    let lost = expected
        .iter()
        .filter(|id| !times.contains_key(id.as_str()));
    report.lost.extend(lost.map(|id| finding(id)));
}

/// What did not match, as (subscription, event id).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Different events expected, over all subscriptions.
    pub expected: usize,
    /// Promised and never received.
    pub lost: Vec<(String, String)>,
    /// Received again, one entry for each further time.
    pub duplicated: Vec<(String, String)>,
    /// Received and never promised.
    pub unexpected: Vec<(String, String)>,
    /// First received after an event that was published later.
    pub out_of_order: Vec<(String, String)>,
}

impl Report {
    /// Each event once, nothing else; in any order.
    pub fn is_exact(&self) -> bool {
        self.lost.is_empty() && self.duplicated.is_empty() && self.unexpected.is_empty()
    }

    /// # Panics
    /// Unless [`is_exact`](Self::is_exact), with the report.
    #[track_caller]
    pub fn assert_exact(&self) {
        assert!(self.is_exact(), "{self}");
    }

    /// Nothing lost and nothing unexpected; at most this many duplicates.
    ///
    /// # Panics
    /// If it is otherwise, with the report.
    #[track_caller]
    pub fn assert_at_least_once(&self, max_duplicates: usize) {
        assert!(
            self.lost.is_empty()
                && self.unexpected.is_empty()
                && self.duplicated.len() <= max_duplicates,
            "at most {max_duplicates} duplicates were allowed: {self}"
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} expected", self.expected)?;
        for (what, found) in [
            ("lost", &self.lost),
            ("duplicated", &self.duplicated),
            ("unexpected", &self.unexpected),
            ("out of order", &self.out_of_order),
        ] {
            write!(f, ", {} {what}", found.len())?;
        }
        for (what, found) in [
            ("lost", &self.lost),
            ("duplicated", &self.duplicated),
            ("unexpected", &self.unexpected),
            ("out of order", &self.out_of_order),
        ] {
            for (subscription, id) in found.iter().take(SHOWN) {
                write!(f, "\n  {what}: {id} of {subscription}")?;
            }
            if found.len() > SHOWN {
                write!(f, "\n  {what}: and {} more", found.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(expected: &[&str], received: &[&str]) -> Report {
        let mut reconciler = Reconciler::new();
        expected.iter().for_each(|id| reconciler.expect("s", id));
        received.iter().for_each(|id| reconciler.receive("s", id));
        reconciler.report()
    }

    #[test]
    fn finds_each_kind() {
        assert!(report(&["a", "b"], &["b", "a"]).is_exact());
        let report = report(&["a", "b", "c", "d"], &["a", "c", "b", "c", "x"]);
        let one = |id: &str| vec![("s".to_owned(), id.to_owned())];
        assert_eq!(report.lost, one("d"));
        assert_eq!(report.duplicated, one("c"));
        assert_eq!(report.unexpected, one("x"));
        assert_eq!(report.out_of_order, one("b"));
        let text = report.to_string();
        assert!(text.starts_with("4 expected, 1 lost, 1 duplicated, 1 unexpected, 1 out of order"));
        assert!(text.contains("\n  lost: d of s"));
    }

    #[test]
    fn subscriptions_are_apart() {
        let mut reconciler = Reconciler::new();
        reconciler.expect("one", "a");
        reconciler.receive("two", "a");
        let report = reconciler.report();
        assert_eq!((report.lost.len(), report.unexpected.len()), (1, 1));
    }

    #[test]
    #[should_panic(expected = "1 lost")]
    fn a_loss_is_never_at_least_once() {
        report(&["a"], &[]).assert_at_least_once(10);
    }
}
