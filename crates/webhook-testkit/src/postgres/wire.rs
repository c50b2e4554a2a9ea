//! As much of PostgreSQL's protocol (version 3.0, simple queries, trusted users) as running a
//! statement takes.

use std::net::Ipv4Addr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PROTOCOL: i32 = 196_608;

/// Runs statements as `postgres`; the error is the server's message.
pub(super) async fn execute(port: u16, database: &str, sql: &str) -> Result<(), String> {
    talk(port, database, sql)
        .await
        .unwrap_or_else(|error| Err(error.to_string()))
}

async fn talk(port: u16, database: &str, sql: &str) -> std::io::Result<Result<(), String>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let mut startup = PROTOCOL.to_be_bytes().to_vec();
    for text in ["user", "postgres", "database", database, ""] {
        startup.extend(text.as_bytes());
        startup.push(0);
    }
    stream.write_all(&length_of(&startup)).await?;
    stream.write_all(&startup).await?;
    if let Err(refused) = until_ready(&mut stream).await? {
        return Ok(Err(refused));
    }
    let mut query = sql.as_bytes().to_vec();
    query.push(0);
    stream.write_all(b"Q").await?;
    stream.write_all(&length_of(&query)).await?;
    stream.write_all(&query).await?;
    let answer = until_ready(&mut stream).await?;
    stream.write_all(&[b'X', 0, 0, 0, 4]).await?;
    Ok(answer)
}

fn length_of(body: &[u8]) -> [u8; 4] {
    let length = i32::try_from(body.len() + 4).expect("statements are short");
    length.to_be_bytes()
}

/// Reads messages up to `ReadyForQuery`, or to the refusal of a session.
async fn until_ready(stream: &mut TcpStream) -> std::io::Result<Result<(), String>> {
    let mut answer = Ok(());
    loop {
        let kind = stream.read_u8().await?;
        let length = stream.read_i32().await?;
        let mut body = vec![0; usize::try_from(length - 4).unwrap_or(0)];
        stream.read_exact(&mut body).await?;
        match kind {
            b'Z' => return Ok(answer),
            b'E' => {
                let fatal = body.windows(6).any(|it| it == b"SFATAL");
                answer = Err(String::from_utf8_lossy(&body).replace('\0', " "));
                if fatal {
                    return Ok(answer);
                }
            }
            _ => {}
        }
    }
}
