//! Which MySQL or MariaDB is new enough.

/// The first with `SKIP LOCKED`, by which rows are claimed.
pub(super) const OLDEST: &str = "MySQL 8.0 or MariaDB 10.6";
const MYSQL: (u32, u32) = (8, 0);
const MARIADB: (u32, u32) = (10, 6);

/// What `VERSION()` says: `8.0.36`, `10.11.14-MariaDB-0+deb12u2`. One that cannot be read passes.
pub(super) fn is_too_old(version: &str) -> bool {
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
    use super::is_too_old;

    #[test]
    fn old_servers_are_told() {
        for old in ["5.7.44-log", "10.5.29-MariaDB", "5.5.68-MariaDB"] {
            assert!(is_too_old(old), "{old}");
        }
        for new in [
            "8.0.36",
            "9.1.0",
            "10.6.0-MariaDB",
            "10.11.14-MariaDB-0+deb12u2",
            "?",
        ] {
            assert!(!is_too_old(new), "{new}");
        }
    }
}
