//! What people see: styles, tables, failures.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use webhook_model::UtcTime;

use crate::client::Unreachable;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default();
pub(crate) const TOPIC: Style = AnsiColor::Cyan.on_default();

/// Status when the server gave no answer: a script may want to wait and try again.
const EXIT_UNREACHABLE: u8 = 3;

/// Says something on standard error. That it cannot be, because its reader is gone or its disk is
/// full, ends nothing: `eprintln!` would panic.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::say_line(format_args!($($text)*))
    };
}
pub(crate) use say;

/// What [`say!`] does.
pub(crate) fn say_line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Whether somebody is there to be asked, and was not told not to be.
pub(crate) fn asks(yes: bool) -> bool {
    !yes && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks on the terminal, and takes nothing but yes for a yes.
pub(crate) fn confirmed(question: &str) -> io::Result<bool> {
    anstream::eprint!("{BOLD}{}?{BOLD:#} [y/N] ", printable(question));
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Prints why a command failed and says with what status to exit.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    let broken_pipe = error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    });
    if broken_pipe {
        // `decnet … | head` got what it wanted.
        return ExitCode::SUCCESS;
    }
    say!("{BAD}error{BAD:#}: {}", printable_lines(&chain(error)));
    if error.chain().any(|cause| cause.is::<Unreachable>()) {
        ExitCode::from(EXIT_UNREACHABLE)
    } else {
        ExitCode::FAILURE
    }
}

/// An error with what caused it. Causes that the text has already are left out: drivers say theirs
/// in their own text, too.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Prints a line to standard output; that nobody reads it is an error the caller may pass on.
pub(crate) fn line(text: impl std::fmt::Display) -> io::Result<()> {
    writeln!(anstream::stdout(), "{text}")
}

/// Prints rows under headings, fitted to the terminal; the columns `whole` are never broken, so
/// that what is in them can be copied.
pub(crate) fn table(headings: &[&str], whole: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(headings.to_vec());
    for row in rows {
        table.add_row(
            row.into_iter()
                .map(|cell| printable(&cell))
                .collect::<Vec<_>>(),
        );
    }
    if let Some(width) = width() {
        table
            .set_width(width)
            .set_content_arrangement(ContentArrangement::Dynamic);
        for (index, heading) in headings.iter().enumerate() {
            if whole.contains(heading)
                && let Some(column) = table.column_mut(index)
            {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
    for row in table.trim_fmt().lines() {
        line(row.strip_prefix(' ').unwrap_or(row))?;
    }
    Ok(())
}

/// The server's own JSON, as it came, but for what steers a terminal: that is escaped.
pub(crate) fn json(body: &[u8]) -> io::Result<()> {
    line(harmless_json(&String::from_utf8_lossy(body)))
}

/// JSON that means the same, without a character that steers a terminal.
pub(crate) fn harmless_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // Outside of strings there are no others than these.
        if steers(c) && !matches!(c, '\n' | '\r' | '\t') {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// A line of a list of labels and values.
pub(crate) fn labelled(label: &str, value: &str) -> io::Result<()> {
    line(format_args!(
        "{BOLD}{label:<18}{BOLD:#} {}",
        printable(value)
    ))
}

/// An RFC 3339 time without its fraction.
pub(crate) fn seconds(time: Option<&str>) -> String {
    let Some(time) = time else { return "-".into() };
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}

/// A time for a table: how far from now where a terminal has no room for more, else in full.
pub(crate) fn moment(time: Option<&str>) -> String {
    let parsed = time.and_then(|time| UtcTime::parse_sql(time).ok());
    match parsed.filter(|_| width().is_some()) {
        Some(time) => distance(time, UtcTime::now()),
        None => seconds(time),
    }
}

fn distance(time: UtcTime, now: UtcTime) -> String {
    let short = |seconds: u64| match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    };
    if time > now {
        format!("in {}", short(time.since(now).as_secs()))
    } else {
        format!("{} ago", short(now.since(time).as_secs()))
    }
}

/// Columns of the terminal, where standard output is one.
pub(crate) fn width() -> Option<u16> {
    let (width, _) = terminal_size::terminal_size().filter(|_| io::stdout().is_terminal())?;
    Some(width.0)
}

/// Text of somebody else's making without what steers a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

/// The same for a text that may have several lines of ours.
fn printable_lines(text: &str) -> String {
    text.split('\n')
        .map(printable)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether a character does something else than appear: the control characters C0 and C1, those that
/// turn the direction of what follows (Unicode's Bidi_Control), and those that end a line or paragraph.
pub(crate) fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// The first `max` characters on one line, and a sign that there was more.
pub(crate) fn short(text: &str, max: usize) -> String {
    let mut cut: String = printable(text).chars().take(max).collect();
    if text.chars().nth(max).is_some() {
        cut.push('…');
    }
    cut
}

/// Numbers as people read them: 12,345.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let refused = anyhow::anyhow!("connection refused");
        let error = refused
            .context("driver: connection refused")
            .context("cannot open the database");
        assert_eq!(
            chain(&error),
            "cannot open the database: driver: connection refused"
        );
    }

    #[test]
    fn counts_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn distances_are_short() {
        let at = UtcTime::from_micros;
        for (seconds, text) in [
            (0, "0s ago"),
            (-30, "in 30s"),
            (119, "119s ago"),
            (7_199, "119m ago"),
            (86_400, "24h ago"),
            (259_200, "3d ago"),
        ] {
            assert_eq!(distance(at(0), at(seconds * 1_000_000)), text);
        }
    }

    #[test]
    fn what_steers_a_terminal_is_taken_out() {
        assert_eq!(short("a\x1b[31mred", 40), "a\u{fffd}[31mred");
        for strange in [
            '\u{9b}', '\u{7f}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{2028}', '\u{2029}',
        ] {
            assert_eq!(printable(&format!("a{strange}b")), "a\u{fffd}b");
            let json = serde_json::to_string(&format!("a{strange}b")).unwrap();
            let harmless = harmless_json(&json);
            assert!(
                harmless.is_ascii() && !harmless.contains('\u{7f}'),
                "{harmless}"
            );
            assert_eq!(
                serde_json::from_str::<String>(&harmless).unwrap(),
                format!("a{strange}b")
            );
        }
        assert_eq!(short("abcdef", 3), "abc…");
        assert_eq!(short("abc", 3), "abc");
    }
}
