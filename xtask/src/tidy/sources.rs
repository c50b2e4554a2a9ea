//! Rules over the text of tracked files.

use super::{
    Finding,
    facts::{Facts, File},
};

/// The rules' own text, and the tests that break them on purpose.
const EXEMPT: &[&str] = &["xtask/src/tidy", "xtask/tests/"];

/// Crates that are programs or test tools: the rest of `crates/` are libraries.
const NOT_LIBRARIES: &[&str] = &["crates/decnet-cli/", "crates/webhook-testkit/"];

/// Paths and places of the machine that something was written on.
const MACHINE: &[&str] = &["/root/", "/work/", "/tmp/plan", "[source.", "[registries"];

/// What a library leaves to the program that embeds it.
const PROCESS_STATE: &[(&str, &str)] = &[
    ("env::var", "takes its settings from the environment"),
    ("env::set_var", "changes the environment"),
    ("env::remove_var", "changes the environment"),
    ("tokio::signal", "handles signals"),
    ("ctrl_c()", "handles signals"),
    ("tracing_subscriber::", "starts tracing"),
    ("set_global_recorder", "installs a recorder of metrics"),
    ("install_recorder", "installs a recorder of metrics"),
    ("process::exit", "ends the process"),
    ("println!", "prints"),
    ("eprintln!", "prints"),
];

/// No tracked file names a path or registry of the machine it was written on.
pub(super) fn machine_paths(facts: &Facts) -> Vec<Finding> {
    search(facts.files.iter(), |_, line| {
        let needle = MACHINE.iter().find(|needle| line.contains(**needle))?;
        Some(format!("names {needle:?}, which only one machine has"))
    })
}

/// Nothing is left for later.
pub(super) fn leftovers(facts: &Facts) -> Vec<Finding> {
    search(facts.files.iter(), |path, line| {
        let marker = ["TODO", "FIXME", "XXX"]
            .into_iter()
            .find(|marker| has_word(line, marker));
        let code = path.ends_with(".rs");
        let placeholder = ["todo!(", "unimplemented!("]
            .into_iter()
            .find(|placeholder| code && !is_comment(line) && line.contains(placeholder));
        marker
            .or(placeholder)
            .map(|left| format!("{left:?} is left: do it, or file an issue"))
    })
}

/// Lints are expected with a reason, tests are ignored with a reason.
pub(super) fn attributes(facts: &Facts) -> Vec<Finding> {
    search(facts.rust_files(), |_, line| {
        let line = line.trim_start();
        let wrong = ["#[allow(", "#![allow(", "#[ignore]"]
            .into_iter()
            .find(|it| line.contains(it));
        match wrong.filter(|_| !is_comment(line))? {
            "#[ignore]" => Some("give the reason: #[ignore = \"…\"]".to_owned()),
            _ => Some("use #[expect(lint, reason = \"…\")]".to_owned()),
        }
    })
}

/// Libraries touch nothing of [`PROCESS_STATE`] outside their tests.
pub(super) fn library_purity(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in facts
        .rust_files()
        .filter(|file| is_library_source(&file.path))
    {
        for (number, line) in shipped_lines(&file.text) {
            let breach = PROCESS_STATE
                .iter()
                .find(|(needle, _)| line.contains(needle));
            if let Some((needle, what)) = breach.filter(|_| !is_comment(line)) {
                found.push(Finding::new(
                    format!("{}:{number}", file.path),
                    format!("a library that {what} ({needle}): that is decnet-cli's"),
                ));
            }
        }
    }
    found
}

/// actix would install signal handlers of its own.
pub(super) fn server_signals(facts: &Facts) -> Vec<Finding> {
    facts
        .rust_files()
        .filter(|file| is_library_source(&file.path))
        .filter(|file| {
            let builds = ["HttpServer::new", " Server::build()"];
            builds.iter().any(|build| file.text.contains(build))
                && !file.text.contains(".disable_signals()")
        })
        .map(|file| Finding::new(&file.path, "a server of actix needs .disable_signals()"))
        .collect()
}

fn search<'a>(
    files: impl Iterator<Item = &'a File>,
    breach: impl Fn(&str, &str) -> Option<String>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files.filter(|file| !EXEMPT.iter().any(|prefix| file.path.starts_with(prefix))) {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(what) = breach(&file.path, line) {
                found.push(Finding::new(format!("{}:{}", file.path, index + 1), what));
            }
        }
    }
    found
}

fn is_library_source(path: &str) -> bool {
    path.starts_with("crates/")
        && path.contains("/src/")
        && !path.ends_with("/tests.rs")
        && !path.contains("/tests/")
        && !NOT_LIBRARIES.iter().any(|prefix| path.starts_with(prefix))
}

/// The lines before the test module, which stands last in its file.
fn shipped_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut lines = text.lines().enumerate().peekable();
    std::iter::from_fn(move || {
        let (index, line) = lines.next()?;
        let opens_tests = line.trim() == "#[cfg(test)]"
            && lines
                .peek()
                .is_some_and(|(_, next)| next.trim_end().ends_with('{'));
        (!opens_tests).then_some((index + 1, line))
    })
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn has_word(line: &str, word: &str) -> bool {
    let boundary = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        boundary(line[..at].chars().next_back()) && boundary(line[at + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests;
