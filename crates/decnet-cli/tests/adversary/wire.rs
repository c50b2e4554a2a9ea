//! HTTP/1.1 by hand: the attackers do with it what no client does, and the honest see what became of
//! each connection.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// A connection that is kept.
pub(crate) struct Wire(pub(crate) TcpStream);

impl Wire {
    /// Connects from this address.
    pub(crate) async fn open(from: IpAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Connects with a receive buffer of that size.
    pub(crate) async fn open_narrow(to: SocketAddr, bytes: u32) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(bytes)?;
        Ok(Self(socket.connect(to).await?))
    }

    /// Sends these bytes and reads one answer: its status.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.0.write_all(request).await?;
        self.answer().await
    }

    /// Reads one answer with its body: its status.
    pub(crate) async fn answer(&mut self) -> io::Result<u16> {
        let mut head = Vec::new();
        let mut byte = [0; 4096];
        let end = loop {
            let count = self.0.read(&mut byte).await?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            head.extend_from_slice(&byte[..count]);
            if let Some(end) = head.windows(4).position(|it| it == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        let status = text.get(9..12).and_then(|it| it.parse().ok());
        let status = status.ok_or(ErrorKind::InvalidData)?;
        let length = text
            .lines()
            .find_map(|it| it.strip_prefix("content-length:"));
        let length: usize = length.and_then(|it| it.trim().parse().ok()).unwrap_or(0);
        let mut left = (end + length).saturating_sub(head.len());
        while left > 0 {
            let most = left.min(byte.len());
            match self.0.read(&mut byte[..most]).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => left -= count,
            }
        }
        Ok(status)
    }

    /// Waits until the other side ends the connection, reading nothing but its end.
    pub(crate) async fn until_closed(mut self) {
        let mut bytes = [0; 1024];
        while matches!(self.0.read(&mut bytes).await, Ok(1..)) {}
    }
}

/// A GET.
pub(crate) fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    let bearer = token.map_or_else(String::new, |it| format!("Authorization: Bearer {it}\r\n"));
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n{bearer}\r\n").into_bytes()
}

/// The head of a publish with a body of this length.
pub(crate) fn publish_head(token: &str, length: usize) -> Vec<u8> {
    format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// A publish.
pub(crate) fn publish(token: &str, body: &[u8]) -> Vec<u8> {
    let mut request = publish_head(token, body.len());
    request.extend_from_slice(body);
    request
}
