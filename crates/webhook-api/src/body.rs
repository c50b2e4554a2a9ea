//! Reads a request's body: JSON only, within a limit, a time and a share of memory.

use std::time::Duration;

use actix_web::{
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap},
    web::{Bytes, Payload},
};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use crate::{api::Api, problem::Problem};

/// Largest body of every route but `POST /events` (contract §2).
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;
/// Largest body of `POST /events`: a thousand events of an ordinary size, or fifteen of the
/// largest.
pub(crate) const MAX_EVENTS_BODY_BYTES: usize = 16 << 20;
/// Bodies in memory at once, in KiB, so that many large ones wait instead of exhausting it.
pub(crate) const BODY_BUDGET_KIB: usize = 64 << 10;
/// Longest time from the end of the head to the end of the body: 16 MiB at 5 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a share of [`BODY_BUDGET_KIB`]; afterwards the client had better come back.
const BUDGET_TIMEOUT: Duration = Duration::from_secs(10);

/// A body, and its share of the memory that bodies may take.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

/// Reads a body that says it is JSON.
pub(crate) async fn read(
    api: &Api,
    headers: &HeaderMap,
    payload: Payload,
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
    let share = announced.unwrap_or(limit).div_ceil(1024);
    let share = u32::try_from(share).expect("a limit is a few MiB");
    let share = timeout(BUDGET_TIMEOUT, api.bodies.clone().acquire_many_owned(share))
        .await
        .map_err(|_| Problem::Busy)?
        .expect("the semaphore is never closed");
    let read = timeout(BODY_TIMEOUT, payload.to_bytes_limited(limit)).await;
    let bytes = match read {
        Ok(Ok(Ok(bytes))) => bytes,
        Ok(Ok(Err(_))) => {
            let what = "The body ended before it was complete";
            return Err(Problem::Malformed(what.to_owned()));
        }
        Ok(Err(_)) => return Err(too_large()),
        Err(_) => return Err(Problem::BodyTimeout),
    };
    Ok(Body {
        bytes,
        _share: share,
    })
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
