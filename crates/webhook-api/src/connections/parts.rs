//! An answer's body in parts, so that whoever does not read it makes nobody copy all of it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    web::Bytes,
};

use super::connection::Request;

/// Bytes that are copied for a client at a time.
const PART_BYTES: usize = 8 << 10;

/// A body and the request that it answers.
pub(crate) struct Parts {
    body: BoxBody,
    rest: Bytes,
    _request: Option<Request>,
}

impl Parts {
    pub(crate) fn new(body: BoxBody, request: Option<Request>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            _request: request,
        }
    }
}

impl MessageBody for Parts {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_next(cx)) {
                Some(Ok(bytes)) => self.rest = bytes,
                ended => return Poll::Ready(ended),
            }
        }
        let length = self.rest.len().min(PART_BYTES);
        Poll::Ready(Some(Ok(self.rest.split_to(length))))
    }
}
