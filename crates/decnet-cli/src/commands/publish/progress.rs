//! How publishing looks: a bar on a terminal, one line at the end, refused lines by number.

use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    output::{self, BAD, DIM, GOOD, NOTE},
    publish::{Follow, Item, Refused, Report, Watcher},
};

/// How often the bar is redrawn; more often nobody can read.
const REDRAWS_A_SECOND: u8 = 10;

pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
    print_ids: bool,
    /// Whether the events came from numbered lines.
    numbered: bool,
    waiting: bool,
    taken: u64,
}

impl Progress {
    /// For one event: its id is the answer.
    pub(super) fn one() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            started: Instant::now(),
            print_ids: true,
            numbered: false,
            waiting: false,
            taken: 0,
        }
    }

    /// For the lines of a file.
    pub(super) fn lines(path: &Path, follow: Follow, print_ids: bool) -> Self {
        let size = std::fs::metadata(path).ok().filter(|file| file.is_file());
        let (bar, style) = match size.filter(|_| follow == Follow::No) {
            Some(file) => (
                ProgressBar::new(file.len()),
                "{bar:30} {percent:>3}%  {msg}  {elapsed} {eta:.dim}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {msg}  {elapsed:.dim}",
            ),
        };
        // Draws on a terminal only, and never on the output that ids may be read from.
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_A_SECOND));
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            started: Instant::now(),
            print_ids,
            numbered: true,
            waiting: false,
            taken: 0,
        }
    }

    /// The line that sums it up.
    pub(super) fn finish(&self, report: &Report) {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = if seconds > 0.0 {
            report.taken as f64 / seconds
        } else {
            0.0
        };
        let refused = match report.refused {
            0 => String::new(),
            count => format!(", {BAD}{} refused{BAD:#}", output::count(count)),
        };
        anstream::eprintln!(
            "{GOOD}published{GOOD:#} {}{refused} in {seconds:.1} s {DIM}({}/s){DIM:#}",
            output::count(report.taken),
            output::count(rate as u64)
        );
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| anstream::eprintln!("{text}"));
    }
}

impl Watcher for Progress {
    fn taken(&mut self, items: &[Item]) -> anyhow::Result<()> {
        if std::mem::take(&mut self.waiting) {
            self.say("the server takes events again");
        }
        self.taken += items.len() as u64;
        if let Some(last) = items.last() {
            self.bar.set_position(last.end);
        }
        self.bar
            .set_message(format!("{} published", output::count(self.taken)));
        if self.print_ids {
            let ids: String = items.iter().map(|item| format!("{}\n", item.id)).collect();
            self.bar.suspend(|| {
                let mut out = std::io::stdout().lock();
                out.write_all(ids.as_bytes()).and_then(|()| out.flush())
            })?;
        }
        Ok(())
    }

    fn refused(&mut self, refused: &Refused) {
        let reason = output::printable(&refused.reason);
        if self.numbered {
            self.say(&format!("{BAD}line {}{BAD:#}: {reason}", refused.line));
        } else {
            self.say(&format!("{BAD}refused{BAD:#}: {reason}"));
        }
    }

    fn waiting(&mut self, reason: &str) {
        self.waiting = true;
        self.say(&format!(
            "{NOTE}trying again{NOTE:#}: {}",
            output::printable(reason)
        ));
    }
}
