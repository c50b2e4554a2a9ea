//! What DECNET's own table can hold. In MySQL it gave every text `VARCHAR(255)`, in whatever
//! character set its server had for a default; elsewhere texts have no bounds.

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use webhook_model::{Subscription, UtcTime};

use crate::{
    StoreError,
    record::{MAX_ERROR_CHARS, text},
    subscriptions::patterns_text,
};

const LIMITS: &str = "SELECT LOWER(column_name) AS name,
        CAST(character_maximum_length AS SIGNED) AS chars, character_set_name AS charset
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'webhook_subscriptions'
        AND character_maximum_length IS NOT NULL";
const WHOLE_SECONDS: &str = "SELECT COUNT(*) FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'webhook_subscriptions'
        AND datetime_precision < 6";

/// The bounds of the table's text columns; one that is not listed has none.
#[derive(Debug, Default)]
pub(crate) struct Room {
    columns: Vec<(String, Limit)>,
    /// Its times have no fractions; they are rounded when they are stored, be it up.
    whole_seconds: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    chars: usize,
    /// The last character of the set.
    last: char,
}

impl Room {
    pub(crate) async fn read(conn: &impl ConnectionTrait) -> Result<Self, StoreError> {
        let backend = conn.get_database_backend();
        if backend != DbBackend::MySql {
            return Ok(Self::default());
        }
        let mut columns = Vec::new();
        for row in conn
            .query_all_raw(Statement::from_string(backend, LIMITS))
            .await?
        {
            let chars: i64 = row.try_get("", "chars")?;
            let limit = Limit {
                chars: usize::try_from(chars).unwrap_or(usize::MAX),
                last: last_of(&row.try_get::<String>("", "charset")?),
            };
            columns.push((row.try_get("", "name")?, limit));
        }
        let coarse = conn
            .query_one_raw(Statement::from_string(backend, WHOLE_SECONDS))
            .await?
            .map(|row| row.try_get_by_index::<i64>(0))
            .transpose()?;
        Ok(Self {
            columns,
            whole_seconds: coarse.is_some_and(|columns| columns > 0),
        })
    }

    /// A time as the table keeps it, never one that is yet to come.
    pub(crate) fn as_kept(&self, time: UtcTime) -> UtcTime {
        const SECOND: i64 = 1_000_000;
        if !self.whole_seconds {
            return time;
        }
        UtcTime::from_micros(time.micros() - time.micros().rem_euclid(SECOND))
    }

    /// Whether every text of a subscription fits.
    pub(crate) fn check(&self, subscription: &Subscription) -> Result<(), StoreError> {
        let patterns = patterns_text(&subscription.topic_patterns);
        for (column, value) in [
            ("name", subscription.name.as_str()),
            ("url", subscription.url.expose()),
            ("secret", subscription.secret.expose()),
            ("topic_patterns", &patterns),
        ] {
            let Some(limit) = self.of(column) else {
                continue;
            };
            let chars = value.chars().count();
            let reason = if chars > limit.chars {
                format!("it has {chars} characters, the column {}", limit.chars)
            } else if value.chars().any(|c| c > limit.last) {
                "the column's character set lacks some of its characters".to_owned()
            } else {
                continue;
            };
            return Err(StoreError::NoRoom { column, reason });
        }
        Ok(())
    }

    /// An error as `last_error` holds it: cut, and with `?` for what its character set lacks.
    pub(crate) fn last_error(&self, error: &str) -> String {
        match self.of("last_error") {
            None => text(error, MAX_ERROR_CHARS),
            Some(limit) => text(error, Ord::min(limit.chars, MAX_ERROR_CHARS))
                .chars()
                .map(|c| if c > limit.last { '?' } else { c })
                .collect(),
        }
    }

    fn of(&self, column: &str) -> Option<Limit> {
        let found = self.columns.iter().find(|(name, _)| name == column);
        found.map(|(_, limit)| *limit)
    }
}

fn last_of(charset: &str) -> char {
    match charset {
        "utf8mb4" => char::MAX,
        // The basic multilingual plane.
        "utf8" | "utf8mb3" | "ucs2" => '\u{ffff}',
        _ => '\u{7f}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_cut_to_the_column() {
        let limit = |chars, charset| Room {
            columns: vec![(
                "last_error".to_owned(),
                Limit {
                    chars,
                    last: last_of(charset),
                },
            )],
            whole_seconds: false,
        };
        assert_eq!(limit(4, "latin1").last_error("é→ab\0"), "??ab");
        assert_eq!(limit(9, "utf8mb3").last_error("é→😀"), "é→?");
        assert_eq!(limit(9, "utf8mb4").last_error("é→😀"), "é→😀");
        let long = "x".repeat(600);
        assert_eq!(Room::default().last_error(&long).len(), 512);
        let coarse = Room {
            whole_seconds: true,
            ..Room::default()
        };
        let kept = coarse.as_kept(UtcTime::from_micros(5_900_000));
        assert_eq!(kept, UtcTime::from_micros(5_000_000));
        assert_eq!(limit(65_535, "utf8mb4").last_error(&long).len(), 512);
    }
}
