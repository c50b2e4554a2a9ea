//! Prometheus' text format 0.0.4, read as strictly as it is written.

use std::collections::{BTreeMap, BTreeSet};

/// Name and value of each label.
type Labels = BTreeMap<String, String>;

/// One page of metrics.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    families: BTreeMap<String, Family>,
}

#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// By name (a histogram's have suffixes) and labels.
    samples: BTreeMap<(String, Labels), f64>,
    /// The bounds of a histogram's buckets as they came, by the other labels.
    bounds: BTreeMap<Labels, Vec<(f64, f64)>>,
}

impl Scrape {
    /// Asks for a page, and checks all that can be checked of one.
    pub(crate) async fn of(url: &str) -> Self {
        super::install_tls();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = http.get(format!("{url}/metrics")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let kind = answer.headers()["content-type"].to_str().unwrap();
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        Self::parse(&answer.text().await.unwrap())
    }

    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends");
        let mut page = Self::default();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                let family = page.families.entry(name.to_owned()).or_default();
                assert!(
                    family.help.is_empty() && family.samples.is_empty(),
                    "{line}"
                );
                family.help = help.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                let family = page.families.entry(name.to_owned()).or_default();
                assert!(!family.help.is_empty(), "{line}: HELP comes first");
                assert!(family.kind.is_empty(), "{line}: twice");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                family.kind = kind.to_owned();
                current = name.to_owned();
            } else if !line.is_empty() {
                assert!(!line.starts_with('#'), "{line}");
                let family = page.families.get_mut(&current).expect(line);
                family.sample(&current, line);
            }
        }
        for (name, family) in &page.families {
            family.check(name);
        }
        page
    }

    /// The names of the families.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.families.keys().map(String::as_str).collect()
    }

    /// A sample's value, if there is that one.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let key = (name.to_owned(), labels.iter().map(own).collect());
        self.families
            .values()
            .find_map(|family| family.samples.get(&key))
            .copied()
    }

    /// A sample's value, which must be there.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        match self.get(name, labels) {
            Some(value) => value,
            None => panic!("no {name} {labels:?} in {self:#?}"),
        }
    }

    /// The sum over all samples of that name.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let samples = self.families.values().flat_map(|family| &family.samples);
        samples
            .filter(|((sample, _), _)| sample == name)
            .map(|(_, value)| value)
            .sum()
    }

    /// The values of a label, wherever it is used.
    pub(crate) fn label_values(&self, label: &str) -> BTreeSet<&str> {
        let samples = self.families.values().flat_map(|family| &family.samples);
        samples
            .filter_map(|((_, labels), _)| labels.get(label))
            .map(String::as_str)
            .collect()
    }

    /// Fails if a counter has gone down since an earlier page of the same process.
    #[track_caller]
    pub(crate) fn assert_follows(&self, earlier: &Self) {
        for (name, family) in &self.families {
            let before = earlier.families.get(name);
            for (key, value) in family.samples.iter().filter(|_| family.kind != "gauge") {
                let before = before.and_then(|before| before.samples.get(key));
                assert!(before.is_none_or(|before| before <= value), "{key:?}");
            }
        }
    }
}

impl Family {
    fn sample(&mut self, name: &str, line: &str) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        let (sample, labels) = match series.split_once('{') {
            Some((sample, rest)) => (sample, labels(rest.strip_suffix('}').expect(line))),
            None => (series, Labels::new()),
        };
        let suffix = sample.strip_prefix(name).expect(line);
        if self.kind == "histogram" {
            assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}");
        } else {
            assert_eq!(suffix, "", "{line}");
        }
        if suffix == "_bucket" {
            let mut others = labels.clone();
            let bound = others.remove("le").expect(line).parse().expect(line);
            self.bounds.entry(others).or_default().push((bound, value));
        }
        let twice = self.samples.insert((sample.to_owned(), labels), value);
        assert_eq!(twice, None, "{line}: twice");
    }

    fn check(&self, name: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(name.chars().all(plain), "{name}");
        assert!(!self.kind.is_empty() && !self.samples.is_empty(), "{name}");
        assert_eq!(self.kind == "counter", name.ends_with("_total"), "{name}");
        for ((sample, labels), value) in &self.samples {
            assert!(value.is_finite() && *value >= 0.0, "{sample} {labels:?}");
        }
        for (labels, bounds) in &self.bounds {
            let rising = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
            assert!(bounds.windows(2).all(rising), "{name} {bounds:?}");
            let (last, all) = bounds[bounds.len() - 1];
            assert_eq!(last, f64::INFINITY, "{name}");
            let count = &self.samples[&(format!("{name}_count"), labels.clone())];
            let sum = &self.samples[&(format!("{name}_sum"), labels.clone())];
            assert_eq!(*count, all, "{name}");
            assert!(*count > 0.0 || *sum == 0.0, "{name}");
        }
    }
}

/// `name="value",…` with its escapes.
fn labels(text: &str) -> Labels {
    let mut labels = Labels::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect(text);
        let name = name.trim_start_matches(',');
        let mut value = String::new();
        let mut chars = after.char_indices();
        rest = loop {
            let (at, c) = chars.next().expect(text);
            match c {
                '"' => break &after[at + 1..],
                '\\' => value.push(match chars.next().expect(text).1 {
                    'n' => '\n',
                    c @ ('"' | '\\') => c,
                    other => panic!("{text}: \\{other}"),
                }),
                c => value.push(c),
            }
        };
        let twice = labels.insert(name.to_owned(), value);
        assert_eq!(twice, None, "{text}");
    }
    labels
}

#[test]
fn a_page_is_read_with_its_escapes() {
    let page = Scrape::parse(
        "# HELP a_total Of.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\",y=\",}\"} 2\n",
    );
    assert_eq!(page.value("a_total", &[("x", "q\"\\"), ("y", ",}")]), 2.0);
}

#[test]
#[should_panic(expected = "twice")]
fn a_series_may_not_come_twice() {
    Scrape::parse("# HELP a Of.\n# TYPE a gauge\na{x=\"1\"} 2\na{x=\"1\"} 2\n");
}
