//! How long the delivery log remembers, and how much of dead letters.

use std::time::Duration;

use super::{
    embedded::bytes,
    env::{Env, SettingError},
};

/// What is not set has the worker's own default.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) delivered: Option<Duration>,
    pub(super) dead: Option<Duration>,
    /// Bytes of the bodies of dead letters, of all subscriptions and of each.
    pub(super) dead_bytes: Option<u64>,
    pub(super) dead_bytes_each: Option<u64>,
}

impl Kept {
    pub(super) fn read(env: Env<'_>) -> Result<Self, SettingError> {
        let age = |name| {
            let parse = |text: &str| humantime::parse_duration(text).ok();
            env.parsed(name, "a duration", "set it to e.g. 30d, or unset it", parse)
        };
        let size = |name| {
            let remedy = "set it to e.g. 1GiB, or unset it";
            env.parsed(name, "a number of bytes", remedy, bytes)
        };
        Ok(Self {
            delivered: age("DECNET_WEBHOOK_KEEP_DELIVERED")?,
            dead: age("DECNET_WEBHOOK_KEEP_DEAD")?,
            dead_bytes: size("DECNET_WEBHOOK_DEAD_MAX_BYTES")?,
            dead_bytes_each: size("DECNET_WEBHOOK_DEAD_MAX_BYTES_EACH")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_come_from_variables_and_are_checked() {
        let kept = Kept::read(Env(&[
            ("DECNET_WEBHOOK_KEEP_DEAD", "90d"),
            ("DECNET_WEBHOOK_DEAD_MAX_BYTES", "2GiB"),
        ]));
        let kept = kept.unwrap();
        assert_eq!(kept.dead, Some(Duration::from_secs(90 * 24 * 3_600)));
        assert_eq!(
            (kept.dead_bytes, kept.dead_bytes_each),
            (Some(2 << 30), None)
        );
        for (name, value) in [
            ("DECNET_WEBHOOK_KEEP_DELIVERED", "long"),
            ("DECNET_WEBHOOK_DEAD_MAX_BYTES_EACH", "-1"),
        ] {
            let error = Kept::read(Env(&[(name, value)])).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
