//! The delivery log, failed attempts, replay jobs, gaps.

use sea_orm::{
    DbBackend, DbErr,
    sea_query::{ColumnDef, Index, IndexCreateStatement, Table, TableCreateStatement},
};
use sea_orm_migration::SchemaManager;

use super::{FOREIGN_UUID_CHARS, INCARNATION_CHARS, UUID_CHARS, exact};
use crate::{
    backend::{self, create_index, ours},
    entities::{
        attempt::{self, Column as Attempt},
        delivery::{self, Column as Delivery},
        gap::{self, Column as Gap},
        replay::{self, Column as Replay},
    },
};

const EVENT_ID_CHARS: u32 = 128;
const TOPIC_CHARS: u32 = 255;

pub(super) async fn create(manager: &SchemaManager<'_>, backend: DbBackend) -> Result<(), DbErr> {
    for table in [
        deliveries_table(backend),
        attempts_table(backend),
        replays_table(backend),
        gaps_table(backend),
    ] {
        manager.create_table(ours(backend, table)).await?;
    }
    for (table, index) in indexes() {
        create_index(manager, table, index).await?;
    }
    Ok(())
}

/// Every index costs each delivery its part, so pages without a status are merged from one scan a
/// status instead of having an index of their own.
fn indexes() -> [(&'static str, IndexCreateStatement); 10] {
    use Delivery::{
        CreatedAt, EventId, Id, NextAttemptAt, PairId, Seq, Status, Subscription, Topic,
    };
    let deliveries = |name: &str, columns: &[Delivery]| {
        let mut index = Index::create();
        index.name(name).table(delivery::Entity);
        for column in columns {
            index.col(*column);
        }
        ("webhook_deliveries", index)
    };
    let (table, mut place) = deliveries("ux_webhook_deliveries_place", &[PairId, Seq]);
    [
        (table, place.unique().to_owned()),
        deliveries("ix_webhook_deliveries_seen", &[Subscription, Seq]),
        // Only retrying rows have a `next_attempt_at`.
        deliveries("ix_webhook_deliveries_due", &[Subscription, NextAttemptAt]),
        deliveries(
            "ix_webhook_deliveries_subscription",
            &[Subscription, Status, CreatedAt, Id],
        ),
        deliveries("ix_webhook_deliveries_status", &[Status, CreatedAt, Id]),
        deliveries("ix_webhook_deliveries_event", &[EventId, CreatedAt, Id]),
        deliveries("ix_webhook_deliveries_topic", &[Topic, CreatedAt, Id]),
        (
            "webhook_attempts",
            Index::create()
                .name("ix_webhook_attempts_delivery")
                .table(attempt::Entity)
                .col(Attempt::DeliveryId)
                .col(Attempt::Id)
                .to_owned(),
        ),
        (
            "webhook_replays",
            Index::create()
                .name("ix_webhook_replays_state")
                .table(replay::Entity)
                .col(Replay::State)
                .col(Replay::CreatedAt)
                .to_owned(),
        ),
        (
            "webhook_gaps",
            Index::create()
                .name("ux_webhook_gaps_place")
                .table(gap::Entity)
                .col(Gap::PairId)
                .col(Gap::FromSeq)
                .unique()
                .to_owned(),
        ),
    ]
}

fn deliveries_table(backend: DbBackend) -> TableCreateStatement {
    let mut body = ColumnDef::new(Delivery::Body);
    backend::bytes_type(backend, &mut body).null();
    Table::create()
        .table(delivery::Entity)
        .if_not_exists()
        .col(
            ColumnDef::new(Delivery::Id)
                .big_integer()
                .not_null()
                .auto_increment()
                .primary_key(),
        )
        .col(exact(backend, Delivery::PairId, UUID_CHARS))
        .col(ColumnDef::new(Delivery::Seq).big_integer().not_null())
        .col(exact(backend, Delivery::Incarnation, INCARNATION_CHARS))
        .col(exact(backend, Delivery::Subscription, FOREIGN_UUID_CHARS))
        .col(exact(backend, Delivery::EventId, EVENT_ID_CHARS))
        .col(exact(backend, Delivery::Topic, TOPIC_CHARS))
        .col(ColumnDef::new(Delivery::Kind).text().not_null())
        .col(ColumnDef::new(Delivery::Status).small_integer().not_null())
        .col(ColumnDef::new(Delivery::Attempts).integer().not_null())
        .col(ColumnDef::new(Delivery::Round).integer().not_null())
        .col(ColumnDef::new(Delivery::StatusCode).integer().null())
        .col(ColumnDef::new(Delivery::Error).text().null())
        .col(
            ColumnDef::new(Delivery::DurationMs)
                .big_integer()
                .not_null(),
        )
        .col(ColumnDef::new(Delivery::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(Delivery::UpdatedAt).big_integer().not_null())
        .col(ColumnDef::new(Delivery::NextAttemptAt).big_integer().null())
        .col(ColumnDef::new(Delivery::LeaseUntil).big_integer().null())
        .col(ColumnDef::new(Delivery::LeaseOwner).text().null())
        .col(body)
        .to_owned()
}

fn attempts_table(backend: DbBackend) -> TableCreateStatement {
    let mut answer = ColumnDef::new(Attempt::Answer);
    backend::bytes_type(backend, &mut answer).not_null();
    Table::create()
        .table(attempt::Entity)
        .if_not_exists()
        .col(
            ColumnDef::new(Attempt::Id)
                .big_integer()
                .not_null()
                .auto_increment()
                .primary_key(),
        )
        .col(ColumnDef::new(Attempt::DeliveryId).big_integer().not_null())
        .col(ColumnDef::new(Attempt::At).big_integer().not_null())
        .col(ColumnDef::new(Attempt::StatusCode).integer().null())
        .col(ColumnDef::new(Attempt::DurationMs).big_integer().not_null())
        .col(ColumnDef::new(Attempt::Error).text().null())
        .col(answer)
        .to_owned()
}

fn replays_table(backend: DbBackend) -> TableCreateStatement {
    let number = |column: Replay| ColumnDef::new(column).big_integer().not_null().to_owned();
    let optional = |column: Replay| ColumnDef::new(column).big_integer().null().to_owned();
    Table::create()
        .table(replay::Entity)
        .if_not_exists()
        .col(exact(backend, Replay::Id, UUID_CHARS).primary_key())
        .col(exact(backend, Replay::Subscription, FOREIGN_UUID_CHARS))
        .col(ColumnDef::new(Replay::Status).small_integer().not_null())
        .col(ColumnDef::new(Replay::Topic).text().null())
        .col(ColumnDef::new(Replay::Error).text().null())
        .col(optional(Replay::Since))
        .col(number(Replay::Until))
        .col(ColumnDef::new(Replay::State).small_integer().not_null())
        .col(ColumnDef::new(Replay::Reason).text().null())
        .col(number(Replay::Matched))
        .col(number(Replay::Replayed))
        .col(number(Replay::Unavailable))
        .col(optional(Replay::CursorAt))
        .col(optional(Replay::CursorId))
        .col(number(Replay::CreatedAt))
        .col(number(Replay::UpdatedAt))
        .col(optional(Replay::LeaseUntil))
        .col(ColumnDef::new(Replay::LeaseOwner).text().null())
        .to_owned()
}

fn gaps_table(backend: DbBackend) -> TableCreateStatement {
    Table::create()
        .table(gap::Entity)
        .if_not_exists()
        .col(
            ColumnDef::new(Gap::Id)
                .big_integer()
                .not_null()
                .auto_increment()
                .primary_key(),
        )
        .col(exact(backend, Gap::PairId, UUID_CHARS))
        .col(exact(backend, Gap::Subscription, FOREIGN_UUID_CHARS))
        .col(exact(backend, Gap::Incarnation, INCARNATION_CHARS))
        .col(ColumnDef::new(Gap::FromSeq).big_integer().not_null())
        .col(ColumnDef::new(Gap::ToSeq).big_integer().not_null())
        .col(ColumnDef::new(Gap::Count).big_integer().not_null())
        .col(ColumnDef::new(Gap::At).big_integer().not_null())
        .to_owned()
}
