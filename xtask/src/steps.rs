//! Runs named steps one after the other and says at the end how each of them went.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

/// Every step is run whatever became of those before it: a newer rustfmt's opinion should not
/// hide what the tests say.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
    totals: Totals,
}

struct Step {
    name: String,
    took: Duration,
    failure: Option<String>,
}

/// The sums of cargo's `test result:` lines.
#[derive(Default, Debug, PartialEq)]
struct Totals {
    runs: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Steps {
    /// Does one step in this process.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<()>) {
        println!("\n==> {name}");
        let started = Instant::now();
        let failure = work().err().map(|error| format!("{error:#}"));
        let took = started.elapsed();
        match &failure {
            None => println!("<== {name}: ok, {}", seconds(took)),
            Some(why) => println!("<== {name}: FAILED, {}: {why}", seconds(took)),
        }
        self.done.push(Step {
            name: name.to_owned(),
            took,
            failure,
        });
    }

    /// Runs a command as a step.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) {
        self.run(name, || {
            let status = command.status().context("cannot start cargo")?;
            ensure!(status.success(), "{status}");
            Ok(())
        });
    }

    /// Runs tests as a step: their output passes through and its result lines are added up.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) {
        let mut totals = std::mem::take(&mut self.totals);
        self.run(name, || {
            let mut child = command
                .stdout(Stdio::piped())
                .spawn()
                .context("cannot start cargo")?;
            let mut lines = BufReader::new(child.stdout.take().context("no output")?);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line)? > 0 {
                std::io::stdout().write_all(&line)?;
                totals.add(&String::from_utf8_lossy(&line));
                line.clear();
            }
            let status = child.wait()?;
            ensure!(status.success(), "{status}");
            Ok(())
        });
        self.totals = totals;
    }

    /// Prints what was done and what was left out; fails when a step did.
    pub(crate) fn finish(self, left_out: &[&str]) -> anyhow::Result<()> {
        println!("\n==> summary");
        for Step {
            name,
            took,
            failure,
        } in &self.done
        {
            let result = if failure.is_none() { "ok" } else { "FAILED" };
            println!("  {result:6}  {:>8}  {name}", seconds(*took));
        }
        let Totals {
            runs,
            passed,
            failed,
            ignored,
        } = self.totals;
        println!("  tests: {passed} passed, {failed} failed, {ignored} ignored, in {runs} runs");
        for what in left_out {
            println!("  left out: {what}");
        }
        match self
            .done
            .iter()
            .filter(|step| step.failure.is_some())
            .count()
        {
            0 => Ok(()),
            1 => bail!("one step failed"),
            many => bail!("{many} steps failed"),
        }
    }
}

impl Totals {
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …`
    fn add(&mut self, line: &str) {
        let Some(counts) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        self.runs += 1;
        for count in counts.split(['.', ';']) {
            let mut words = count.split_whitespace();
            let (Some(Ok(number)), Some(what)) =
                (words.next().map(str::parse::<u64>), words.next())
            else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::{Steps, Totals};

    #[test]
    fn adds_up_result_lines() {
        let mut totals = Totals::default();
        totals.add("running 4 tests\n");
        totals.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.02s\n");
        totals.add("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n");
        assert_eq!(
            totals,
            Totals {
                runs: 2,
                passed: 5,
                failed: 1,
                ignored: 1
            }
        );
    }

    #[test]
    fn later_steps_run_after_a_failure_and_the_whole_fails() {
        let mut steps = Steps::default();
        let mut ran = false;
        steps.run("first", || anyhow::bail!("no"));
        steps.run("second", || {
            ran = true;
            Ok(())
        });
        assert!(ran);
        assert_eq!(
            steps.finish(&[]).unwrap_err().to_string(),
            "one step failed"
        );
    }
}
