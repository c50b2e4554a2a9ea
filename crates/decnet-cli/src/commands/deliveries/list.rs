//! Lists of deliveries, page by page.

use std::process::ExitCode;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::form_urlencoded::Serializer;

use super::{
    ROUTE,
    args::{List, ListFilter},
};
use crate::{
    client::{Client, Names, decode},
    output::{self, NOTE},
};

/// Most rows of a page; the API's own bound.
const PAGE: u64 = 500;

#[derive(Deserialize)]
struct Row {
    id: i64,
    subscription: String,
    topic: String,
    status: String,
    attempts: u64,
    error: Option<String>,
    created_at: String,
    next_attempt_at: Option<String>,
    #[serde(default)]
    acknowledged_at: Option<String>,
}

/// One page, or several as if they were one.
#[derive(Serialize, Deserialize)]
struct Rows {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// `decnet deliveries list`.
pub(super) async fn deliveries(
    client: &Client,
    list: &List,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let names = Names::load(client).await?;
    let status = list.status.map(super::args::Status::as_str);
    let rows = read(client, &names, status, None, &list.filter).await?;
    if as_json {
        output::json(&serde_json::to_vec(&rows)?)?;
    } else if rows.items.is_empty() {
        eprintln!("no deliveries match");
    } else {
        show(&names, &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Dead letters alone. Whether any were shown.
pub(crate) async fn dead_letters(
    client: &Client,
    names: &Names,
    filter: &ListFilter,
    acknowledged: Option<&str>,
    as_json: bool,
) -> anyhow::Result<bool> {
    let rows = read(client, names, Some("dead"), acknowledged, filter).await?;
    let any = !rows.items.is_empty();
    if as_json {
        output::json(&serde_json::to_vec(&rows)?)?;
    } else if any {
        show(names, &rows)?;
    }
    Ok(any)
}

async fn read(
    client: &Client,
    names: &Names,
    status: Option<&str>,
    acknowledged: Option<&str>,
    filter: &ListFilter,
) -> anyhow::Result<Rows> {
    let wanted = filter.subscription.as_deref();
    let subscription = wanted.map(|wanted| names.uuid_of_any(wanted)).transpose()?;
    let given = [
        ("subscription", subscription.as_deref()),
        ("status", status),
        ("acknowledged", acknowledged),
        ("event_id", filter.event_id.as_deref()),
    ];
    let mut rows = Rows {
        items: Vec::new(),
        next_cursor: filter.cursor.clone(),
    };
    loop {
        let room = filter.limit - rows.items.len() as u64;
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &room.min(PAGE).to_string());
        for (name, value) in given {
            query.extend_pairs(value.map(|value| (name, value)));
        }
        query.extend_pairs(filter.content.fields());
        query.extend_pairs(rows.next_cursor.as_ref().map(|cursor| ("cursor", cursor)));
        let path = format!("{ROUTE}?{}", query.finish());
        let body = client.call(Method::GET, &path, None).await?;
        let page: Rows = decode(&body)?;
        rows.items.extend(page.items);
        rows.next_cursor = page.next_cursor;
        if rows.next_cursor.is_none() || rows.items.len() as u64 >= filter.limit {
            return Ok(rows);
        }
    }
}

fn show(names: &Names, rows: &Rows) -> anyhow::Result<()> {
    let cells = |row: Row| {
        let status = if row.acknowledged_at.is_some() {
            format!("{}, acknowledged", row.status)
        } else {
            row.status.clone()
        };
        let error = row.error.filter(|_| row.status != "delivered");
        vec![
            row.id.to_string(),
            status,
            names.name(&row.subscription).to_owned(),
            row.topic,
            row.attempts.to_string(),
            error.unwrap_or("-".into()),
            output::moment(Some(&row.created_at)),
            output::moment(row.next_attempt_at.as_deref()),
        ]
    };
    let mut table = Vec::with_capacity(rows.items.len());
    for item in &rows.items {
        table.push(cells(decode(item.get().as_bytes())?));
    }
    let headings = [
        "ID",
        "STATUS",
        "SUBSCRIPTION",
        "TOPIC",
        "TRIES",
        "ERROR",
        "RECORDED",
        "NEXT TRY",
    ];
    // An empty column costs a narrow terminal its width.
    let is_due = |row: &Vec<String>| row.last().is_some_and(|next| next != "-");
    let mut shown = headings.len();
    if !table.iter().any(is_due) {
        shown -= 1;
        table.iter_mut().for_each(|row| row.truncate(shown));
    }
    output::table(
        &headings[..shown],
        &["ID", "STATUS", "RECORDED", "NEXT TRY"],
        table,
    )?;
    if rows.next_cursor.is_some() {
        anstream::eprintln!(
            "{NOTE}the latest {} are shown; --limit shows more{NOTE:#}",
            output::count(rows.items.len() as u64)
        );
    }
    Ok(())
}
