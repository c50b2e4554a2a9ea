//! What filling takes in SQLite and in PostgreSQL.

use sea_orm::{DatabaseConnection, DbBackend};

/// Pieces of SQL.
pub(crate) struct Dialect {
    /// Before anything else: durability is not what is measured.
    pub(crate) quick: &'static str,
    /// Name and statement of each index that may be dropped.
    pub(crate) indexes: &'static str,
    /// A pair's id out of `n`.
    pub(crate) pair: &'static str,
    /// A scattered id.
    pub(crate) event_id: &'static str,
    /// About 600 bytes.
    pub(crate) body: &'static str,
    /// About 100 bytes.
    pub(crate) answer: &'static str,
    /// After everything.
    pub(crate) finish: &'static str,
    /// The database's bytes.
    pub(crate) size: &'static str,
}

const SQLITE: Dialect = Dialect {
    quick: "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000",
    indexes: "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL
        AND tbl_name IN ('webhook_deliveries', 'webhook_attempts')",
    pair: "printf('00000000-0000-0000-0000-%012d', n)",
    event_id: "lower(hex(randomblob(16)))",
    body: "randomblob(600)",
    answer: "randomblob(100)",
    finish: "PRAGMA optimize",
    size: "SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()",
};

const POSTGRES: Dialect = Dialect {
    quick: "SET synchronous_commit = off",
    indexes: "SELECT indexname AS name, indexdef AS sql FROM pg_indexes
        WHERE tablename IN ('webhook_deliveries', 'webhook_attempts')
            AND indexname NOT LIKE '%pkey'",
    pair: "'00000000-0000-0000-0000-' || lpad(n::text, 12, '0')",
    event_id: "md5(random()::text)",
    body: "decode(repeat(md5(random()::text), 38), 'hex')",
    answer: "decode(repeat(md5(random()::text), 6), 'hex')",
    finish: "SELECT setval(pg_get_serial_sequence('webhook_deliveries', 'id'), max(id))
            FROM webhook_deliveries;
        ANALYZE",
    size: "SELECT pg_database_size(current_database()) AS bytes",
};

impl Dialect {
    pub(crate) fn of(db: &DatabaseConnection) -> &'static Self {
        match db.get_database_backend() {
            DbBackend::Postgres => &POSTGRES,
            _ => &SQLITE,
        }
    }
}
