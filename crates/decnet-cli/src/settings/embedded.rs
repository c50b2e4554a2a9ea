//! How much the embedded bus keeps, and who may give orders on its socket.

use std::time::Duration;

use webhook_bus::{JournalConfig, SocketConfig};

use super::env::{Env, SettingError, parse_setting};

/// Less would not even hold what one full event in each of a few consumers' hands comes to.
const LEAST_BYTES: u64 = 16 << 20;
/// Less would take events that are being delivered.
const LEAST_AGE: Duration = Duration::from_secs(60);

const MAX_BYTES: &str = "DECNET_BUS_MAX_BYTES";
const MAX_AGE: &str = "DECNET_BUS_MAX_AGE";
const TRUSTED: &str = "DECNET_BUS_TRUSTED_USERS";

/// The embedded bus.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Embedded bus options")]
pub(crate) struct EmbeddedOptions {
    /// How many bytes its events may occupy, e.g. `8GiB`; beyond it the oldest go early
    /// [env: DECNET_BUS_MAX_BYTES; default: 8GiB]
    #[arg(long, value_name = "BYTES")]
    bus_max_bytes: Option<String>,
    /// How long its events stay, e.g. `7d` [env: DECNET_BUS_MAX_AGE; default: 7d]
    #[arg(long, value_name = "DURATION")]
    bus_max_age: Option<String>,
    /// Users, by name or number and parted by commas, whose programs may publish `system.webhook.*` on
    /// its socket, beside root and the user it runs as [env: DECNET_BUS_TRUSTED_USERS; default: none]
    #[arg(long, value_name = "USERS")]
    bus_trusted_users: Option<String>,
}

/// The same, read; what is not set has the bus's own default.
#[derive(Debug, Clone, Default)]
pub(crate) struct EmbeddedSettings {
    max_bytes: Option<u64>,
    max_age: Option<Duration>,
    trusted: Vec<u32>,
}

impl EmbeddedOptions {
    pub(super) fn read(&self, env: Env<'_>) -> Result<EmbeddedSettings, SettingError> {
        let mut settings = EmbeddedSettings::default();
        if let Some((name, text)) = given(env, self.bus_max_bytes.as_deref(), MAX_BYTES)? {
            settings.max_bytes = Some(parse_setting(
                name,
                &text,
                "a size of 16MiB or more",
                "use e.g. 8GiB or 500MB",
                |text| bytes(text).filter(|&bytes| bytes >= LEAST_BYTES),
            )?);
        }
        if let Some((name, text)) = given(env, self.bus_max_age.as_deref(), MAX_AGE)? {
            settings.max_age = Some(parse_setting(
                name,
                &text,
                "a duration of a minute or more",
                "use e.g. 7d or 36h",
                |text| {
                    let age = humantime::parse_duration(text).ok();
                    age.filter(|&age| age >= LEAST_AGE)
                },
            )?);
        }
        if let Some((name, text)) = given(env, self.bus_trusted_users.as_deref(), TRUSTED)? {
            for user in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
                settings.trusted.push(parse_setting(
                    name,
                    user,
                    "a user of this machine",
                    "use names or numbers of users, parted by commas, e.g. decnet",
                    uid,
                )?);
            }
        }
        Ok(settings)
    }
}

impl EmbeddedSettings {
    pub(crate) fn journal(&self, config: JournalConfig) -> JournalConfig {
        JournalConfig {
            max_bytes: self.max_bytes.unwrap_or(config.max_bytes),
            retention: self.max_age.unwrap_or(config.retention),
            ..config
        }
    }

    pub(crate) fn socket(&self, config: SocketConfig) -> SocketConfig {
        SocketConfig {
            trusted: self.trusted.clone(),
            ..config
        }
    }
}

fn given<'a>(
    env: Env<'_>,
    flag: Option<&str>,
    variable: &'a str,
) -> Result<Option<(&'a str, String)>, SettingError> {
    Ok(match flag {
        Some(text) => Some((variable, text.to_owned())),
        None => env.text(variable)?.map(|text| (variable, text)),
    })
}

/// A number of bytes, with a unit of 1000 (`MB`) or of 1024 (`MiB`, `M`) or none.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let (base, power) = match unit.as_str() {
        "" | "b" => (1, 0),
        "k" | "kib" => (1_024, 1),
        "kb" => (1_000, 1),
        "m" | "mib" => (1_024, 2),
        "mb" => (1_000, 2),
        "g" | "gib" => (1_024, 3),
        "gb" => (1_000, 3),
        "t" | "tib" => (1_024, 4),
        "tb" => (1_000, 4),
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(u64::pow(base, power))
}

fn uid(user: &str) -> Option<u32> {
    if let Ok(uid) = user.parse() {
        return Some(uid);
    }
    let found = nix::unistd::User::from_name(user).ok()?;
    found.map(|user| user.uid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: [(&'static str, &str); 1]) -> Result<EmbeddedSettings, String> {
        let read = EmbeddedOptions::default().read(Env(&vars));
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, expected) in [
            ("16777216", Some(16 << 20)),
            ("16 MiB", Some(16 << 20)),
            ("8GiB", Some(8 << 30)),
            ("2g", Some(2 << 30)),
            ("500MB", Some(500_000_000)),
            ("1tb", Some(1_000_000_000_000)),
            ("8 gigs", None),
            ("-1", None),
            ("", None),
            ("99999999999T", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn bounds_and_users_come_from_variables_and_are_checked() {
        let settings = read([(MAX_BYTES, "1GiB")]).unwrap();
        assert_eq!(settings.max_bytes, Some(1 << 30));
        assert_eq!(
            read([(MAX_AGE, "2d")]).unwrap().max_age,
            Some(Duration::from_secs(172_800))
        );
        assert_eq!(read([(TRUSTED, "root, 4711")]).unwrap().trusted, [0, 4_711]);
        for (name, value) in [
            (MAX_BYTES, "1MiB"),
            (MAX_BYTES, "lots"),
            (MAX_AGE, "5s"),
            (TRUSTED, "no such user"),
        ] {
            let error = read([(name, value)]).unwrap_err();
            assert!(error.starts_with(&format!("{name}={value:?}")), "{error}");
        }
    }
}
