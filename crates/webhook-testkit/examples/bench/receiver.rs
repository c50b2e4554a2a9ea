//! A receiver that costs little, so that the sender is what is measured: hand-written HTTP/1.1
//! over kept connections, every body verified. Or one that misbehaves, for the isolation run.

use std::{
    error::Error,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{events::number, flags::Flags, tally::Tally};

const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// How often a waiting run looks whether all has come.
const POLL: Duration = Duration::from_millis(5);
/// Pause before each byte of a trickling answer, which takes longer than any time-out.
const TRICKLE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy)]
enum Manner {
    /// Answers at once.
    Prompt,
    /// Reads, and never answers.
    Silent,
    /// Stops in the middle of its answer's body.
    Stalls,
    /// Never stops answering.
    Endless,
    /// Resets the connection instead of an answer.
    Resets,
    /// Sends its answer a byte at a time.
    Trickles,
}

/// `receive --manner prompt|silent|stalls|endless|resets|trickles --secret S --paths P --capacity N`
///
/// A prompt one counts for `P` subscriptions, those to `/hook/0`, `/hook/1`, …
pub(crate) async fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let manner = match flags.text("manner")? {
        "prompt" => Manner::Prompt,
        "silent" => Manner::Silent,
        "stalls" => Manner::Stalls,
        "endless" => Manner::Endless,
        "resets" => Manner::Resets,
        "trickles" => Manner::Trickles,
        other => return Err(format!("no manner {other}").into()),
    };
    let mac = Hmac::<Sha256>::new_from_slice(flags.text("secret")?.as_bytes())?;
    let paths: usize = flags.parsed("paths")?;
    let tally = Arc::new(Tally::new(flags.parsed("capacity")?));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!(r#"{{"addr":"{}"}}"#, listener.local_addr()?);

    let served = Arc::clone(&tally);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (mac, tally) = (mac.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                // A connection ends when its peer or its manner ends it.
                let _ = match manner {
                    Manner::Prompt => prompt(socket, &mac, &tally, paths).await,
                    bad => misbehave(socket, bad).await,
                };
            });
        }
    });
    // Blocks this thread, which is none of the runtime's workers.
    obey(&tally)
}

/// `begin RUN`, `wait COUNT SECONDS` and `report`; ends with its standard input.
fn obey(tally: &Tally) -> Result<(), Box<dyn Error>> {
    for line in io::stdin().lines() {
        let line = line?;
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["begin", run] => {
                tally.begin(run.parse()?);
                println!("{{}}");
            }
            ["wait", count, seconds] => {
                let count: u64 = count.parse()?;
                let end = Instant::now() + Duration::from_secs(seconds.parse()?);
                // What is missing at the end shows in the report.
                while tally.distinct() < count && Instant::now() < end {
                    std::thread::sleep(POLL);
                }
                println!("{}", tally.report());
            }
            ["report"] => println!("{}", tally.report()),
            _ => return Err(format!("no order {line:?}").into()),
        }
    }
    Ok(())
}

async fn prompt(
    mut socket: TcpStream,
    mac: &Hmac<Sha256>,
    tally: &Tally,
    paths: usize,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8 << 10);
    loop {
        let Some(request) = read_request(&mut socket, &mut buffer).await? else {
            return Ok(());
        };
        let (head, body) = (&buffer[..request.head], &buffer[request.head..request.end]);
        let mut mac = mac.clone();
        mac.update(body);
        let genuine = header(head, "x-decnet-signature")
            .and_then(|value| hex::decode(value.strip_prefix("sha256=")?).ok())
            .is_some_and(|signature| mac.verify_slice(&signature).is_ok());
        match (
            genuine,
            number(body, "run"),
            number(body, "n"),
            number(body, "sent_us"),
        ) {
            (true, Some(run), Some(n), Some(sent)) => {
                let n = usize::try_from(n).unwrap_or(usize::MAX);
                let place = n.saturating_mul(paths).saturating_add(path_number(head));
                tally.count(run, place, sent);
            }
            _ => tally.unverified(),
        }
        buffer.drain(..request.end);
        socket.write_all(NO_CONTENT).await?;
    }
}

/// `K` of `POST /hook/K HTTP/1.1`; 0 where there is none.
fn path_number(head: &[u8]) -> usize {
    let line = head.split(|&byte| byte == b'\r').next();
    let path = line.and_then(|line| std::str::from_utf8(line).ok()?.split(' ').nth(1));
    path.and_then(|path| path.rsplit('/').next()?.parse().ok())
        .unwrap_or(0)
}

async fn misbehave(mut socket: TcpStream, manner: Manner) -> io::Result<()> {
    let mut buffer = Vec::new();
    read_request(&mut socket, &mut buffer).await?;
    match manner {
        Manner::Prompt | Manner::Silent => {}
        Manner::Resets => return socket.set_zero_linger(),
        Manner::Trickles => {
            socket
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
                .await?;
            loop {
                tokio::time::sleep(TRICKLE).await;
                socket.write_all(b"x").await?;
            }
        }
        Manner::Stalls => {
            socket
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")
                .await?;
        }
        Manner::Endless => {
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                socket.write_all(&[b'x'; 16 << 10]).await?;
            }
        }
    }
    // Holds the connection until its peer gives up.
    while socket.read_buf(&mut buffer).await? > 0 {
        buffer.clear();
    }
    Ok(())
}

struct Request {
    head: usize,
    end: usize,
}

/// Reads until `buffer` begins with a whole request; None when the peer has closed.
async fn read_request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = end + 4;
            let length: usize = header(&buffer[..head], "content-length")
                .and_then(|value| value.parse().ok())
                .unwrap_or(0);
            if buffer.len() >= head + length {
                return Ok(Some(Request {
                    head,
                    end: head + length,
                }));
            }
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    std::str::from_utf8(head)
        .ok()?
        .split("\r\n")
        .find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
}
