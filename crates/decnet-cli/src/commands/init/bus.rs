//! DECNET's own broker, where it is installed: our units are pointed at its socket.

use super::plan::Place;

/// The unit that runs it.
const UNIT: &str = "decnet-bus.service";
/// Where it listens unless its unit says otherwise.
const DEFAULT: &str = "/run/decnet/bus.sock";
const VARIABLE: &str = "DECNET_BUS_SOCKET=";
const FLAG: &str = "--socket";

/// The socket of the broker that is installed there, if one is.
pub(super) fn socket(place: &Place) -> anyhow::Result<Option<String>> {
    let unit = place.unit(UNIT)?;
    Ok(unit.map(|text| named(&text).unwrap_or_else(|| DEFAULT.to_owned())))
}

/// What our services need to use it. A variable in decnet.env still comes before it.
pub(super) fn directives(socket: &str) -> (String, String) {
    (
        format!("After={UNIT}\nWants={UNIT}\n"),
        format!("Environment={VARIABLE}{socket}\n"),
    )
}

/// The socket that a unit names, in its environment or its command. The last one counts, as it does
/// for systemd.
fn named(unit: &str) -> Option<String> {
    let mut found = None;
    for line in unit.lines().map(str::trim) {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let words = value
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']));
        match key.trim() {
            "Environment" => {
                found = words
                    .filter_map(|it| it.strip_prefix(VARIABLE))
                    .next_back()
                    .or(found);
            }
            "ExecStart" => {
                let words: Vec<&str> = words.collect();
                let after = words.windows(2).find(|it| it[0] == FLAG).map(|it| it[1]);
                let joined = words
                    .iter()
                    .find_map(|it| it.strip_prefix(FLAG)?.strip_prefix('='));
                found = joined.or(after).or(found);
            }
            _ => {}
        }
    }
    // What systemd would expand, we cannot follow.
    let plain = |path: &&str| path.starts_with('/') && !path.contains(['%', '$', '\\']);
    found.filter(plain).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_names_its_socket_in_several_ways() {
        for (unit, expected) in [
            ("[Service]\nExecStart=/opt/d/bin/decnet bus\n", None),
            (
                "Environment=A=1 DECNET_BUS_SOCKET=/run/x.sock",
                Some("/run/x.sock"),
            ),
            (
                "Environment=\"DECNET_BUS_SOCKET=/run/x.sock\"",
                Some("/run/x.sock"),
            ),
            (
                "ExecStart=/d bus --socket /run/y.sock -v",
                Some("/run/y.sock"),
            ),
            ("ExecStart=/d bus --socket=/run/y.sock", Some("/run/y.sock")),
            ("ExecStart=/d bus --socket=%t/y.sock", None),
            ("# Environment=DECNET_BUS_SOCKET=/run/x.sock", None),
        ] {
            assert_eq!(named(unit).as_deref(), expected, "{unit}");
        }
    }
}
