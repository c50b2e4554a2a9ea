//! Header names on HTTP/1.1 as the contract writes them. HTTP does not mind; receivers that look
//! for `X-DECNET-Signature` by its letters do.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Extensions, Request, Response};
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

/// The names that are neither all lower case nor capitalised word by word.
const NAMES: [&str; 7] = [
    "X-DECNET-Signature",
    "X-DECNET-Event-Id",
    "X-DECNET-Event-Topic",
    "X-DECNET-Timestamp",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

/// What makes hyper write these names as they are. It does so for a request whose extensions came
/// from parsing one, as a proxy's do, and offers no other way to make them: so a request is parsed,
/// in memory.
pub(super) fn extensions() -> Extensions {
    let lines: String = NAMES.map(|name| format!("{name}: x\r\n")).concat();
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    let (mut near, far) = tokio::io::duplex(head.len());
    let parsed = Arc::new(Mutex::new(Extensions::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let extensions = request.extensions().clone();
        *parsed.lock().unwrap_or_else(PoisonError::into_inner) = extensions;
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    // The buffer has room for it all: nothing here waits.
    let served = async {
        near.write_all(head.as_bytes()).await.ok();
        http1::Builder::new()
            .preserve_header_case(true)
            .serve_connection(TokioIo::new(far), service)
            .await
            .ok();
    };
    served.now_or_never();
    std::mem::take(&mut *parsed.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_found_without_a_runtime() {
        assert!(!extensions().is_empty());
    }
}
