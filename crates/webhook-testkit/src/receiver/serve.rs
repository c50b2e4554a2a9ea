//! The accept loop and what happens on a connection.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Behaviour, End, Shared,
    http::{self, Request},
    log::{Received, header},
};
use crate::Signatures;

/// What the endless answers send at a time.
const FILLER: [u8; 16 * 1024] = [b'.'; 16 * 1024];
const TEN_GB: u64 = 10_000_000_000;

/// Accepts until it is cancelled.
pub(super) async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        // A connection that was gone before it was accepted.
        let Ok((stream, _)) = accepted else { continue };
        let number = shared.connections.fetch_add(1, Ordering::Relaxed);
        let (shared, tls, stop) = (Arc::clone(&shared), tls.clone(), stop.clone());
        tasks.spawn(async move {
            // How a connection ends is the other side's business; tests look at the log.
            let _ = stop
                .run_until_cancelled(connection(&shared, stream, tls, number))
                .await;
        });
    }
}

async fn connection(
    shared: &Shared,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    number: usize,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => serve(shared, stream, number).await,
        Some(tls) => serve(shared, tls.accept(stream).await?, number).await,
    }
}

trait Connection: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Connection for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Connection for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn serve(shared: &Shared, mut stream: impl Connection, number: usize) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(8 * 1024);
    while let Some(request) = http::read_request(&mut stream, &mut buffer).await? {
        let close = header(&request.headers, "connection") == Some("close");
        let (delay, behaviour) = record(shared, request, number);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let keep = answer(&mut stream, behaviour).await?;
        if close || !keep {
            break;
        }
    }
    stream.shutdown().await
}

/// Logs a request with the answer it is about to get.
fn record(shared: &Shared, request: Request, connection: usize) -> (Duration, Behaviour) {
    let headers = &request.headers;
    let signatures = shared
        .secret_for(&request.path)
        .map(|secret| Signatures::check(&secret, |name| header(headers, name), &request.body));
    let body = if shared.keep_bodies {
        request.body
    } else {
        Bytes::new()
    };
    let mut received = Received {
        path: request.path,
        headers: request.headers,
        body,
        at: Instant::now(),
        wall: SystemTime::now(),
        connection,
        signatures,
        answered: None,
    };
    let number = shared.requests.fetch_add(1, Ordering::Relaxed);
    let (delay, behaviour) = shared.behaviour().settle(number, &received);
    received.answered = behaviour.answers();
    shared.push(received);
    (delay, behaviour)
}

/// Whether the connection can be used again.
async fn answer(stream: &mut impl Connection, behaviour: Behaviour) -> io::Result<bool> {
    match behaviour {
        Behaviour::Answer {
            status,
            headers,
            body,
        } => {
            let framing = match status {
                100..200 | 204 | 304 => String::new(),
                _ => format!("content-length: {}\r\n", body.len()),
            };
            let mut bytes = http::head(status, &headers, &framing).into_bytes();
            bytes.extend_from_slice(&body);
            stream.write_all(&bytes).await?;
            return Ok(true);
        }
        Behaviour::HangBeforeAnswer => until_closed(stream).await?,
        Behaviour::StallMidBody => {
            half_an_answer(stream).await?;
            until_closed(stream).await?;
        }
        Behaviour::EndlessContentLength => {
            let framing = format!("content-length: {TEN_GB}\r\n");
            write_head(stream, 200, &framing).await?;
            for _ in 0..TEN_GB / FILLER.len() as u64 {
                stream.write_all(&FILLER).await?;
            }
        }
        Behaviour::EndlessChunked => {
            write_head(stream, 200, "transfer-encoding: chunked\r\n").await?;
            let size = format!("{:x}\r\n", FILLER.len());
            loop {
                stream.write_all(size.as_bytes()).await?;
                stream.write_all(&FILLER).await?;
                stream.write_all(b"\r\n").await?;
            }
        }
        Behaviour::Trickle {
            status,
            every,
            bytes,
        } => {
            write_head(stream, status, &format!("content-length: {bytes}\r\n")).await?;
            for _ in 0..bytes {
                tokio::time::sleep(every).await;
                stream.write_all(b".").await?;
                stream.flush().await?;
            }
            return Ok(true);
        }
        Behaviour::ResetBeforeAnswer => return reset(stream),
        Behaviour::ResetMidBody => {
            half_an_answer(stream).await?;
            return reset(stream);
        }
        Behaviour::CloseBeforeAnswer => {}
        Behaviour::Raw(bytes) => stream.write_all(&bytes).await?,
        Behaviour::RawThen(bytes, end) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            match end {
                End::Abrupt => return Err(io::ErrorKind::ConnectionAborted.into()),
                End::Reset => return reset(stream),
                End::HalfClosed => stream.shutdown().await?,
                End::Held => {}
            }
            until_closed(stream).await?;
        }
        Behaviour::Delay(..) | Behaviour::First(..) | Behaviour::Decide(_) => {
            unreachable!("settled before")
        }
    }
    Ok(false)
}

async fn write_head(stream: &mut impl Connection, status: u16, framing: &str) -> io::Result<()> {
    let head = http::head(status, &[], framing);
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await
}

async fn half_an_answer(stream: &mut impl Connection) -> io::Result<()> {
    write_head(stream, 200, "content-length: 1000\r\n").await?;
    stream.write_all(&[b'.'; 500]).await?;
    stream.flush().await
}

/// Makes the close that follows an RST; a shutdown first would send a FIN.
fn reset(stream: &impl Connection) -> io::Result<bool> {
    stream.tcp().set_zero_linger()?;
    Err(io::ErrorKind::ConnectionReset.into())
}

/// Waits for the other side to give up.
async fn until_closed(stream: &mut impl Connection) -> io::Result<()> {
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}
