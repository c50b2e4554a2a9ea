//! How a subscription's deliveries are made, as flags: bounds, pace, order, patience, headers.

use std::{collections::BTreeMap, fs, io::Read, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use crate::settings::Env;

/// What the API shows instead of a header's value, and what keeps it in a change.
const KEPT: &str = "***";

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Delivery settings")]
pub(super) struct SettingsArgs {
    /// Most deliveries that are worked on at the same time, 1 to 1024 [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_in_flight: Option<u32>,
    /// Most attempts a second, up to 10000; 0 is unlimited [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    rate: Option<u32>,
    /// How many attempts may go at once after a quiet time; 0 is one second's worth [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    burst: Option<u32>,
    /// Deliver one by one in the order of publishing: a failure holds back what follows;
    /// `--ordered=false` ends it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    ordered: Option<bool>,
    /// Time-out of one attempt, 1s to 60s [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    timeout: Option<u64>,
    /// When a failed delivery is tried again, each delay from the time before, 30 days in all at
    /// most; `none` makes it a dead letter at once [default: 30s,2m,10m,30m,1h,3h,6h,12h]
    #[arg(long, value_name = "DELAYS", value_parser = schedule)]
    schedule: Option<Schedule>,
    /// Header to send along, which other users may see in the process list; repeat for more.
    /// Values are never shown again. A header of the same name is replaced, others stay
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Header whose value is in a variable (or, VARIABLE_FILE, in a file); repeat for more
    #[arg(long, value_name = "NAME=VARIABLE")]
    header_env: Vec<String>,
    /// File with headers, one `Name: value` a line; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    header_file: Option<PathBuf>,
}

/// Delays in seconds.
#[derive(Debug, Clone)]
struct Schedule(Vec<u64>);

/// What happens to the headers that there are.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Delivery settings")]
pub(super) struct HeaderRemoval {
    /// Stop sending this header; repeat for more
    #[arg(long, value_name = "NAME")]
    remove_header: Vec<String>,
    /// Stop sending all headers but those that are given along with this
    #[arg(long)]
    clear_headers: bool,
}

impl HeaderRemoval {
    /// Whether anything is to go.
    pub(super) fn is_wanted(&self) -> bool {
        self.clear_headers || !self.remove_header.is_empty()
    }

    /// The headers after a change: those of `old` that stay, then the new ones.
    pub(super) fn apply<'a>(
        &self,
        old: impl Iterator<Item = &'a String>,
        new: BTreeMap<String, String>,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let old: Vec<&String> = old.collect();
        let is = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        for name in &self.remove_header {
            if !old.iter().any(|other| is(other, name)) {
                bail!(
                    "no header {name:?} is sent; `decnet subscriptions show` names those that are"
                );
            }
        }
        let stays = |name: &str| {
            !self.clear_headers && !self.remove_header.iter().any(|gone| is(gone, name))
        };
        let mut headers: BTreeMap<_, _> = old
            .into_iter()
            .filter(|name| stays(name))
            .map(|name| (name.to_ascii_lowercase(), KEPT.to_owned()))
            .collect();
        headers.extend(new);
        Ok(headers)
    }
}

impl SettingsArgs {
    /// The API's fields for what was given, headers excepted.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let given = [
            ("max_in_flight", self.max_in_flight.map(|n| json!(n))),
            ("rate_per_second", self.rate.map(|n| json!(n))),
            ("burst", self.burst.map(|n| json!(n))),
            ("ordered", self.ordered.map(|yes| json!(yes))),
            ("timeout_seconds", self.timeout.map(|n| json!(n))),
            (
                "redelivery_schedule",
                self.schedule.as_ref().map(|delays| json!(delays.0)),
            ),
        ];
        given
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }

    /// The headers that were given, wherever they are, by name in lower case.
    pub(super) fn headers(&self, env: Env<'_>) -> anyhow::Result<BTreeMap<String, String>> {
        let mut headers = BTreeMap::new();
        let mut add = |name: &str, value: &str| {
            let name = name.trim().to_ascii_lowercase();
            let value = value.trim().to_owned();
            if value == KEPT {
                bail!(
                    "the value of header {name:?} cannot be {KEPT}, which stands for a hidden one"
                );
            }
            if headers.insert(name.clone(), value).is_some() {
                bail!("header {name:?} is given twice");
            }
            Ok(())
        };
        if let Some(path) = &self.header_file {
            for (index, line) in read(path)?.lines().enumerate() {
                if line.trim().is_empty() || line.starts_with('#') {
                    continue;
                }
                // The line may be a secret: say where, not what.
                let (name, value) = line.split_once(':').with_context(|| {
                    format!(
                        "line {} of {} is not `Name: value`",
                        index + 1,
                        path.display()
                    )
                })?;
                add(name, value)?;
            }
        }
        for given in &self.header_env {
            let (name, variable) = given
                .split_once('=')
                .with_context(|| format!("--header-env {given:?} is not NAME=VARIABLE"))?;
            let value = env.secret(variable)?.with_context(|| {
                format!(
                    "--header-env {given}: neither {variable} nor {variable}_FILE is set; set \
                         one of them to the header's value, or to a file with it"
                )
            })?;
            add(name, &value)?;
        }
        for given in &self.header {
            let (name, value) = given
                .split_once(':')
                .context("--header takes 'Name: value', with a colon")?;
            add(name, value)?;
        }
        Ok(headers)
    }
}

fn read(path: &std::path::Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("reading headers from standard input")?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| format!("reading headers from {}", path.display()))
}

/// Whole seconds, as the API counts.
fn seconds(text: &str) -> Result<u64, String> {
    let duration: Duration = humantime::parse_duration(text.trim())
        .map_err(|error| format!("{error}; use e.g. 30s or 2m"))?;
    if duration.subsec_nanos() > 0 || duration.is_zero() {
        return Err("use whole seconds, at least 1s".into());
    }
    Ok(duration.as_secs())
}

fn schedule(text: &str) -> Result<Schedule, String> {
    if text == "none" {
        return Ok(Schedule(Vec::new()));
    }
    text.split(',')
        .map(seconds)
        .collect::<Result<_, _>>()
        .map(Schedule)
}

/// Delays as they may be given: `30s,2m,10m`.
pub(super) fn schedule_text(delays: &[u64]) -> String {
    if delays.is_empty() {
        return "none".into();
    }
    let text = |delay: &u64| {
        humantime::format_duration(Duration::from_secs(*delay))
            .to_string()
            .replace(' ', "")
    };
    delays.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        settings: SettingsArgs,
        #[command(flatten)]
        removal: HeaderRemoval,
    }

    fn line(args: &[&str]) -> Line {
        Line::try_parse_from([&["x"], args].concat()).unwrap()
    }

    #[test]
    fn flags_become_the_apis_fields() {
        let flags = "--max-in-flight 8 --rate 100 --burst 10 --ordered --timeout 1m \
                     --schedule 30s,2m,1h30m";
        let given = line(&flags.split_whitespace().collect::<Vec<_>>());
        assert_eq!(
            Value::Object(given.settings.fields()),
            json!({"max_in_flight": 8, "rate_per_second": 100, "burst": 10, "ordered": true,
                "timeout_seconds": 60, "redelivery_schedule": [30, 120, 5400]})
        );
        let given = line(&["--ordered=false", "--schedule", "none"]);
        assert_eq!(
            Value::Object(given.settings.fields()),
            json!({"ordered": false, "redelivery_schedule": []})
        );
        for wrong in [
            ["--timeout", "1500ms"],
            ["--timeout", "10"],
            ["--schedule", "30s,,2m"],
        ] {
            assert!(
                Line::try_parse_from([&["x"], &wrong[..]].concat()).is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn schedules_read_back_as_they_were_given() {
        for text in ["none", "30s,2m,1h30m", "1day"] {
            assert_eq!(schedule_text(&schedule(text).unwrap().0), text);
        }
    }

    #[test]
    fn headers_come_from_three_places_and_never_into_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "# ours\n\nX-File: a: b\n").unwrap();
        let vars = [("SIEM_TOKEN", "Bearer hunter2")];
        let path = file.path().to_str().unwrap();
        let given = line(&[
            "--header",
            "X-Key: k1",
            "--header-env",
            "Authorization=SIEM_TOKEN",
            "--header-file",
            path,
        ]);
        let headers = given.settings.headers(Env(&vars)).unwrap();
        let expected = [
            ("authorization", "Bearer hunter2"),
            ("x-file", "a: b"),
            ("x-key", "k1"),
        ];
        assert_eq!(headers, expected.map(|(a, b)| (a.into(), b.into())).into());

        fs::write(file.path(), "X-File hunter2\n").unwrap();
        let error = given.settings.headers(Env(&vars)).unwrap_err().to_string();
        assert!(
            error.contains("line 1") && !error.contains("hunter2"),
            "{error}"
        );
        let given = line(&["--header", "hunter2"]);
        let error = given.settings.headers(Env(&vars)).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_change_keeps_the_headers_it_does_not_name() {
        let old = ["x-a".to_owned(), "x-b".to_owned()];
        let new = || BTreeMap::from([("x-c".to_owned(), "3".to_owned())]);
        let names = |flags: &[&str]| {
            let removal = line(flags).removal;
            let headers = removal.apply(old.iter(), new()).unwrap();
            headers
                .into_iter()
                .map(|(name, value)| name + "=" + &value)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["x-a=***", "x-b=***", "x-c=3"]);
        assert_eq!(names(&["--remove-header", "X-A"]), ["x-b=***", "x-c=3"]);
        assert_eq!(names(&["--clear-headers"]), ["x-c=3"]);
        let removal = line(&["--remove-header", "x-z"]).removal;
        assert!(removal.apply(old.iter(), new()).is_err());
    }
}
