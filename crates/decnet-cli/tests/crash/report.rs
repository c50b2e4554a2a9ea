//! What came of each crash, as a table.

use std::io::Write;

/// What a world had come to when it was reconciled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) expected: usize,
    pub(crate) lost: usize,
    pub(crate) duplicated: usize,
    pub(crate) dead: usize,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) meaning: &'static str,
    pub(crate) crashes: usize,
    pub(crate) outcome: Outcome,
}

/// Prints the table as `docs/reliability.md` has it, also when the test passes.
pub(crate) fn print(title: &str, rows: &[Row]) {
    let mut text = format!("\n{title}\n\n");
    text +=
        "| crash | what is half done | crashes | promised | lost | twice | dead letters kept |\n";
    text += "|---|---|---|---|---|---|---|\n";
    for row in rows {
        let Outcome {
            expected,
            lost,
            duplicated,
            dead,
        } = row.outcome;
        text += &format!(
            "| {} | {} | {} | {expected} | {lost} | {duplicated} | {dead} |\n",
            row.what, row.meaning, row.crashes,
        );
    }
    // Not by println!, which a passing test swallows.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
