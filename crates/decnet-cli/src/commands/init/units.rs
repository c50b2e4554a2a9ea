//! The units this binary carries, whatever they are called, and the drop-ins for DECNET's.

use anyhow::{Context, ensure};
use include_dir::{Dir, File, include_dir};

use super::master::Master;
use crate::systemd::MARKER;

/// Found by listing: a new file in `systemd/` is a new unit here, and one in `systemd/NAME.d/` a new
/// drop-in for DECNET's unit of that name.
static UNITS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../systemd");

/// What the templates leave open.
pub(super) struct Values {
    pub(super) user: String,
    pub(super) group: String,
    /// This program, as the services find it.
    pub(super) program: String,
    /// The socket of DECNET's broker, where that is installed.
    pub(super) broker: Option<String>,
    /// DECNET itself, where it has its own worker.
    pub(super) master: Option<Master>,
}

/// A unit or drop-in as it is installed.
pub(super) struct Unit {
    /// The template's name; of a drop-in with that of its directory.
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
    let mut units = render(UNITS.files(), values, false)?;
    units.sort_by_key(|unit| (!unit.is_target(), unit.name.clone()));
    Ok(units)
}

/// The drop-ins for a unit of this name.
pub(super) fn drop_ins(unit: &str, values: &Values) -> anyhow::Result<Vec<Unit>> {
    match UNITS.get_dir(format!("{unit}.d")) {
        Some(folder) => render(folder.files(), values, true),
        None => Ok(Vec::new()),
    }
}

fn render<'a>(
    files: impl Iterator<Item = &'a File<'a>>,
    values: &Values,
    are_drop_ins: bool,
) -> anyhow::Result<Vec<Unit>> {
    files
        .map(|file| {
            let name = file.path().to_str().context("a unit's name is no text")?;
            let text = file.contents_utf8().context("a unit is no text")?;
            let text = text
                .replace("@USER@", &values.user)
                .replace("@GROUP@", &values.group)
                .replace("@PROGRAM@", &values.program);
            let text = beside_decnet(&text, values, are_drop_ins)?;
            ensure!(
                !has_placeholder(&text),
                "{name} has a placeholder that nothing fills"
            );
            Ok(Unit {
                name: name.to_owned(),
                text: format!("{MARKER}\n{text}"),
            })
        })
        .collect()
}

/// The unit with what it needs to use DECNET's broker and database; a target needs nothing.
fn beside_decnet(text: &str, values: &Values, is_drop_in: bool) -> anyhow::Result<String> {
    let Some((unit, service)) = text.split_once("\n[Service]\n") else {
        return Ok(text.to_owned());
    };
    let (order, mut added) = match &values.broker {
        Some(socket) => super::bus::directives(socket),
        None => (String::new(), String::new()),
    };
    let mut service = service.to_owned();
    if let Some(master) = &values.master {
        added += &master.directives(is_drop_in);
        let command = |arguments: &str| format!("ExecStart={} {arguments}\n", values.program);
        service = service.replace(&command("api"), &command(&master.api_arguments()));
    }
    let before = "EnvironmentFile=";
    let at = service
        .find(before)
        .context("a unit reads no environment file")?;
    let (head, rest) = service.split_at(at);
    Ok(format!("{unit}{order}\n[Service]\n{head}{added}{rest}"))
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

    fn values() -> Values {
        Values {
            user: "siem".into(),
            group: "soc".into(),
            program: "/opt/decnet/bin/decnet".into(),
            broker: None,
            master: None,
        }
    }

    #[test]
    fn every_file_is_a_unit_with_nothing_left_open() {
        let units = rendered(&values()).unwrap();
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
        let units = rendered(&values()).unwrap();
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
