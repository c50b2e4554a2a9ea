//! Reads a request's body: JSON only, within a limit, a time and a share of memory.

mod budget;
mod buffer;

use std::{sync::Arc, time::Duration};

use actix_web::{
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap},
    web::{Bytes, Payload},
};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

pub(crate) use self::budget::{Budget, NoRoom};
use self::{budget::Share, buffer::Buffer};
use crate::{connections::Connection, problem::Problem};

/// Largest body of every route but `POST /events` (contract §2).
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;
/// Largest body of `POST /events`: a thousand events of an ordinary size, or fifteen of the
/// largest.
pub(crate) const MAX_EVENTS_BODY_BYTES: usize = 16 << 20;
/// Bodies of events in memory at once, in KiB, beside the one that has the reserve: 24 MiB in all.
/// While its events are taken out of it a body is there twice, and they are in the journal's memory
/// for a while after.
pub(crate) const EVENTS_BUDGET_KIB: usize = 8 << 10;
/// The same for those of one token, so that it leaves room for others.
pub(crate) const TOKEN_BUDGET_KIB: usize = 4 << 10;
/// The same for all other bodies, which no publisher can take up.
pub(crate) const ADMINISTRATION_BUDGET_KIB: usize = 16 << 10;
/// Longest time from the end of the head to the end of the body: 16 MiB at 5 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a body may take whatever its size; then it has to come at [`LEAST_RATE`].
const GRACE: Duration = Duration::from_secs(5);
/// Bytes a second that any link has; who sends less holds a connection for its own sake.
const LEAST_RATE: f64 = 8192.0;

/// A body, and its share of the memory that bodies may take.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    _shares: [Share; 2],
}

impl Body {
    /// What it takes of the budgets, without itself.
    pub(crate) fn without_bytes(mut self) -> Self {
        self.bytes = Bytes::new();
        self
    }
}

/// Reads a body that says it is JSON. It is paid for out of the budgets, innermost first, as it
/// arrives.
pub(crate) async fn read(
    budgets: &[&Budget],
    connection: Option<&Arc<Connection>>,
    headers: &HeaderMap,
    mut payload: Payload,
    limit: usize,
) -> Result<Body, Problem> {
    check_media(headers)?;
    let too_large = || Problem::TooLarge(format!("The body is larger than {limit} bytes").into());
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let _being_read = connection.map(Connection::reads_body);
    let mut shares: [Share; 2] = Default::default();
    let mut bytes = Buffer::default();
    let mut begun = Instant::now();
    loop {
        let chunk = match timeout_at(deadline(begun, bytes.len()), payload.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(_))) => {
                let what = "The body ended before it was complete";
                return Err(Problem::Malformed(what.to_owned()));
            }
            Ok(None) => break,
            Err(_) => return Err(Problem::BodyTimeout),
        };
        let length = bytes.len() + chunk.len();
        if length > limit {
            return Err(too_large());
        }
        let asked = Instant::now();
        for (budget, share) in budgets.iter().zip(&mut shares).rev() {
            budget.grow(share, length).await?;
            // Who has a reserve waits for nobody; otherwise two could wait for each other's.
            if share.is_reserved() {
                break;
            }
        }
        // It is not the client that was slow.
        begun += asked.elapsed();
        bytes.append(&chunk, announced.unwrap_or(limit))?;
    }
    Ok(Body {
        bytes: bytes.freeze(),
        _shares: shares,
    })
}

/// When the next part of a body has to be there.
fn deadline(begun: Instant, received: usize) -> Instant {
    #[expect(clippy::cast_precision_loss, reason = "a body has a few MiB")]
    let earned = Duration::from_secs_f64(received as f64 / LEAST_RATE);
    begun + (GRACE + earned).min(BODY_TIMEOUT)
}

fn check_media(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let media = text(CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .map_or_else(String::new, |value| value.trim().to_ascii_lowercase());
    // RFC 6839: whatever ends in +json is JSON.
    if media != "application/json" && !media.ends_with("+json") {
        return Err(Problem::UnsupportedMedia(
            "Send the body as Content-Type: application/json",
        ));
    }
    match text(CONTENT_ENCODING) {
        None | Some("identity" | "") => Ok(()),
        Some(_) => Err(Problem::UnsupportedMedia(
            "Send the body without a Content-Encoding",
        )),
    }
}
