//! As much HTTP/1.1 as a receiver needs, by hand, so that it can be got wrong on purpose.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Longest body: an event is at most 1 MiB as it arrives, a little more with its envelope.
const MAX_BODY_BYTES: usize = 4 << 20;

pub(super) struct Request {
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

/// Reads the next request of a connection; `None` when it was closed between two.
pub(super) async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<Option<Request>> {
    let head = loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break buffer.split_to(end + 4);
        }
        if buffer.len() > MAX_HEAD_BYTES {
            return Err(invalid("head too long"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    };
    let head = std::str::from_utf8(&head).map_err(|_| invalid("head is no text"))?;
    let mut lines = head.split("\r\n");
    let mut request_line = lines.next().unwrap_or_default().split(' ');
    let path = request_line.nth(1).ok_or_else(|| invalid("no path"))?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = match super::log::header(&headers, "content-length") {
        Some(text) => text.parse().map_err(|_| invalid("content-length"))?,
        None => 0,
    };
    if length > MAX_BODY_BYTES {
        return Err(invalid("body too long"));
    }
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(Request {
        path: path.to_owned(),
        headers,
        body: buffer.split_to(length).freeze(),
    }))
}

/// An answer's head.
pub(super) fn head(status: u16, headers: &[(String, String)], framing: &str) -> String {
    let mut head = format!("HTTP/1.1 {status} Status\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(framing);
    head.push_str("\r\n");
    head
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
