//! The units this binary carries, whatever they are called.

use anyhow::{Context, ensure};
use include_dir::{Dir, include_dir};

/// Found by listing: a new file in `systemd/` is a new unit here.
static UNITS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../systemd");

/// First line of every unit written here, by which it is known again.
pub(super) const MARKER: &str =
    "# Written by `decnet init`, which replaces it; put changes into a drop-in (systemctl edit).";

/// What the templates leave open.
pub(super) struct Values {
    pub(super) user: String,
    pub(super) group: String,
    pub(super) prefix: String,
    /// The socket of DECNET's broker, where that is installed.
    pub(super) broker: Option<String>,
}

/// A unit as it is installed.
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) text: String,
}

impl Unit {
    pub(super) fn is_target(&self) -> bool {
        self.name.ends_with(".target")
    }
}

/// All units, targets first, so that it is known what the services stand beside.
pub(super) fn rendered(values: &Values) -> anyhow::Result<Vec<Unit>> {
    let mut units = UNITS
        .files()
        .map(|file| {
            let name = file.path().to_str().context("a unit's name is no text")?;
            let text = file.contents_utf8().context("a unit is no text")?;
            let text = text
                .replace("@USER@", &values.user)
                .replace("@GROUP@", &values.group)
                .replace("@PREFIX@", &values.prefix);
            let text = match &values.broker {
                Some(socket) => beside_broker(&text, socket)?,
                None => text,
            };
            ensure!(
                !has_placeholder(&text),
                "{name} has a placeholder that nothing fills"
            );
            Ok(Unit {
                name: name.to_owned(),
                text: format!("{MARKER}\n{text}"),
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    units.sort_by_key(|unit| (!unit.is_target(), unit.name.clone()));
    Ok(units)
}

/// The unit with what it needs to use DECNET's broker; a target needs nothing.
fn beside_broker(text: &str, socket: &str) -> anyhow::Result<String> {
    let Some((unit, service)) = text.split_once("\n[Service]\n") else {
        return Ok(text.to_owned());
    };
    let (order, environment) = super::bus::directives(socket);
    let before = "EnvironmentFile=";
    let at = service
        .find(before)
        .context("a unit reads no environment file")?;
    let (head, rest) = service.split_at(at);
    Ok(format!(
        "{unit}{order}\n[Service]\n{head}{environment}{rest}"
    ))
}

/// Where this program is installed, as `<prefix>/bin/decnet`; else the usual place.
pub(super) fn own_prefix() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| {
            let bin = path.parent()?;
            (bin.file_name()? == "bin").then(|| bin.parent()?.to_str().map(str::to_owned))?
        })
        // The services cannot look into homes.
        .filter(|path| !path.starts_with("/home/") && !path.starts_with("/root"))
        .and_then(|path| super::prefix(&path).ok())
        .unwrap_or_else(|| "/usr/local".into())
}

/// `@NAME@`. Specifiers of system calls and template units use `@` too, but never in pairs around
/// capitals.
fn has_placeholder(text: &str) -> bool {
    text.split('@')
        .skip(1)
        .any(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_unit_with_nothing_left_open() {
        let values = Values {
            user: "siem".into(),
            group: "soc".into(),
            prefix: "/opt/decnet".into(),
            broker: None,
        };
        let units = rendered(&values).unwrap();
        assert!(units[0].is_target());
        assert!(units.len() >= 3);
        for unit in &units {
            assert!(unit.text.starts_with(MARKER), "{}", unit.name);
            if !unit.is_target() {
                assert!(
                    unit.text.contains("\nUser=siem\nGroup=soc\n"),
                    "{}",
                    unit.name
                );
                assert!(
                    unit.text.contains("\nExecStart=/opt/decnet/bin/decnet "),
                    "{}",
                    unit.name
                );
            }
        }
        assert!(has_placeholder("User=@USER@"));
        assert!(!has_placeholder("SystemCallFilter=~@privileged @resources"));
    }

    #[test]
    fn the_target_wants_every_service() {
        let values = Values {
            user: "u".into(),
            group: "g".into(),
            prefix: "/p".into(),
            broker: None,
        };
        let units = rendered(&values).unwrap();
        let wants = units[0]
            .text
            .lines()
            .find(|line| line.starts_with("Wants="))
            .unwrap();
        for unit in units.iter().filter(|unit| !unit.is_target()) {
            assert!(wants.contains(&unit.name), "{wants}");
        }
    }
}
