//! Whether a MySQL or MariaDB has what we need: what it lacks would show only later, as a batch of
//! outcomes that is refused again and again.

/// The first with `SKIP LOCKED`, by which rows are claimed.
const MYSQL: (u32, u32) = (8, 0);
const MARIADB: (u32, u32) = (10, 6);
/// Twice what the bodies of one statement come to, see `record::insert`.
const PACKET: u64 = 8 << 20;

/// What a server lacks, by its `VERSION()` (`8.0.36`, `10.11.14-MariaDB-0+deb12u2`) and its
/// `max_allowed_packet`.
pub(super) fn lacks(version: &str, packet: u64) -> Option<String> {
    if is_too_old(version) {
        return Some(format!(
            "it is {version}, and decnet needs MySQL 8.0, MariaDB 10.6 or newer"
        ));
    }
    (packet < PACKET).then(|| {
        format!(
            "its max_allowed_packet is {packet} bytes, and decnet needs {PACKET}; \
             set max_allowed_packet=16M in the server's configuration"
        )
    })
}

/// A version that cannot be read passes.
fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return false;
    };
    let oldest = if version.to_ascii_lowercase().contains("mariadb") {
        MARIADB
    } else {
        MYSQL
    };
    (major, minor) < oldest
}

#[cfg(test)]
mod tests {
    use super::{PACKET, lacks};

    #[test]
    fn what_a_server_lacks_is_told() {
        for old in ["5.7.44-log", "10.5.29-MariaDB", "5.5.68-MariaDB"] {
            assert!(lacks(old, PACKET).unwrap().contains(old));
        }
        for new in [
            "8.0.36",
            "9.1.0",
            "10.6.0-MariaDB",
            "10.11.14-MariaDB-0+deb12u2",
            "?",
        ] {
            assert_eq!(lacks(new, PACKET), None, "{new}");
        }
        let small = lacks("8.0.36", 1 << 20).unwrap();
        assert!(small.contains("max_allowed_packet=16M"), "{small}");
    }
}
