//! `cargo xtask tidy`: the house rules as checks.
//!
//! Facts are gathered once (cargo's metadata, the lock file, the text of every tracked file); each
//! rule is a pure function over them that returns what it found. A rule that matters is added
//! here, not to a document.

mod arrows;
mod dependencies;
pub(crate) mod facts;
mod layout;
mod manifests;
mod sources;

use std::{fmt, path::Path};

use anyhow::bail;
use facts::Facts;

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// A file, perhaps with a line, or a crate.
    place: String,
    what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

type Rule = fn(&Facts) -> Vec<Finding>;

const RULES: &[(&str, Rule)] = &[
    ("arrows between the crates", arrows::arrows),
    ("each library in its one crate", arrows::confined),
    ("webhook-delivery embeds alone", arrows::delivery_alone),
    ("one binary", arrows::one_binary),
    ("lints inherited", manifests::lints),
    ("versions in one place", manifests::versions),
    ("one version of each dependency", dependencies::duplicates),
    ("one TLS stack, one registry", dependencies::sources),
    ("no mod.rs", layout::no_mod_rs),
    ("short files", layout::short_files),
    ("units and documents", layout::required_files),
    ("the two commands open the README", layout::two_commands),
    ("links lead somewhere", layout::links),
    ("the drain fits the units' deadline", layout::unit_deadlines),
    ("nothing of this machine", sources::machine_paths),
    ("nothing left to do", sources::leftovers),
    (
        "no silenced lints, no unexplained ignores",
        sources::attributes,
    ),
    ("libraries touch no process state", sources::library_purity),
    (
        "servers leave signals to the program",
        sources::server_signals,
    ),
];

/// Checks the workspace in `root` and prints what it finds.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let facts = Facts::gather(root)?;
    for note in layout::long_files(&facts)
        .into_iter()
        .chain(dependencies::stale_allowances(&facts))
    {
        println!("  note: {note}");
    }
    let mut count = 0;
    for (name, rule) in RULES {
        for finding in rule(&facts) {
            println!("  {finding}  [{name}]");
            count += 1;
        }
    }
    match count {
        0 => {
            println!(
                "  {} rules hold over {} files",
                RULES.len(),
                facts.files.len()
            );
            Ok(())
        }
        1 => bail!("tidy found a breach of the house rules"),
        _ => bail!("tidy found {count} breaches of the house rules"),
    }
}
