//! `webhook_settings`: a subscription's own settings, where they are not the defaults.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{
    ConnectionTrait, QueryResult, TryGetable,
    sea_query::{Expr, ExprTrait, Query, SelectStatement},
};
use webhook_model::{Header, Settings, SettingsError};

use crate::{StoreError, entities::settings::WebhookSettings as Column, store::WriteTxn};

const COLUMNS: [Column; 8] = [
    Column::Uuid,
    Column::MaxInFlight,
    Column::RatePerSecond,
    Column::Burst,
    Column::Ordered,
    Column::TimeoutSeconds,
    Column::RedeliverySchedule,
    Column::Headers,
];

/// What the table says of a subscription; an error is the reason why that cannot be read.
pub(crate) type Stored = Result<Settings, String>;

/// The settings of every subscription that has any of its own.
pub(crate) async fn all(
    conn: &impl ConnectionTrait,
) -> Result<HashMap<String, Stored>, StoreError> {
    let mut all = HashMap::new();
    for row in conn.query_all(&select()).await? {
        all.insert(row.try_get("", "uuid")?, decode(&row));
    }
    Ok(all)
}

/// Those of one subscription.
pub(crate) async fn of(conn: &impl ConnectionTrait, uuid: &str) -> Result<Stored, StoreError> {
    let select = select()
        .and_where(Expr::col(Column::Uuid).eq(uuid))
        .to_owned();
    let found = conn.query_one(&select).await?;
    Ok(found.map_or_else(|| Ok(Settings::default()), |row| decode(&row)))
}

/// Replaces those of one subscription.
pub(crate) async fn write(
    txn: &WriteTxn,
    uuid: &str,
    settings: &Settings,
) -> Result<(), StoreError> {
    delete(txn, uuid).await?;
    if *settings == Settings::default() {
        return Ok(());
    }
    let headers: BTreeMap<&str, &str> = settings
        .headers()
        .iter()
        .map(|header| (header.name(), header.value().expose()))
        .collect();
    let headers = serde_json::to_string(&headers).expect("strings are JSON");
    let schedule = serde_json::to_string(settings.redelivery_schedule()).expect("numbers are JSON");
    let insert = Query::insert()
        .into_table(Column::Table)
        .columns(COLUMNS)
        .values_panic([
            Expr::val(uuid),
            Expr::val(settings.max_in_flight()),
            Expr::val(settings.rate_per_second()),
            Expr::val(settings.burst()),
            Expr::val(settings.ordered()),
            Expr::val(settings.timeout_seconds()),
            Expr::val(schedule),
            Expr::val(headers),
        ])
        .to_owned();
    txn.conn().execute(&insert).await?;
    Ok(())
}

pub(crate) async fn delete(txn: &WriteTxn, uuid: &str) -> Result<(), StoreError> {
    let delete = Query::delete()
        .from_table(Column::Table)
        .and_where(Expr::col(Column::Uuid).eq(uuid))
        .to_owned();
    txn.conn().execute(&delete).await?;
    Ok(())
}

fn select() -> SelectStatement {
    Query::select()
        .columns(COLUMNS)
        .from(Column::Table)
        .to_owned()
}

fn decode(row: &QueryResult) -> Stored {
    let schedule: Vec<u32> = serde_json::from_str(&column::<String>(row, "redelivery_schedule")?)
        .map_err(|error| format!("redelivery_schedule: {error}"))?;
    // What the JSON error would say of a header may be its value.
    let headers: BTreeMap<String, String> =
        serde_json::from_str(&column::<String>(row, "headers")?)
            .map_err(|_| "headers: not a JSON object of strings".to_owned())?;
    let number = |name| Ok::<_, String>(unsigned(column(row, name)?));
    let burst = column::<Option<i32>>(row, "burst")?.map(unsigned);
    let settings = Settings::default().with_ordered(column(row, "ordered")?);
    let (in_flight, rate) = (number("max_in_flight")?, number("rate_per_second")?);
    let timeout = number("timeout_seconds")?;
    let checked = || {
        let headers = headers
            .iter()
            .map(|(name, value)| Header::parse(name, value))
            .collect::<Result<_, SettingsError>>()?;
        settings
            .with_max_in_flight(in_flight)?
            .with_rate_per_second(rate)?
            .with_burst(burst)?
            .with_timeout_seconds(timeout)?
            .with_redelivery_schedule(schedule)?
            .with_headers(headers)
    };
    checked().map_err(|error| error.to_string())
}

fn column<T: TryGetable>(row: &QueryResult, name: &str) -> Result<T, String> {
    row.try_get("", name)
        .map_err(|error| format!("{name}: {error}"))
}

/// A negative number fails the check of its field.
fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
