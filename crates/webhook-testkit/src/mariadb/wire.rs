//! As much of MySQL's protocol (4.1, text queries, users without passwords) as running a statement
//! takes.

use std::{io, net::Ipv4Addr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// `CONNECT_WITH_DB`, `PROTOCOL_41`, `SECURE_CONNECTION`, `PLUGIN_AUTH`.
const WITH_DATABASE: u32 = 0x8;
const CAPABILITIES: u32 = 0x200 | 0x8000 | 0x8_0000;
/// `utf8mb4_general_ci`.
const CHARSET: u8 = 45;
/// Longest packet that either side sends.
const MAX_PACKET: u32 = 1 << 20;
const QUERY: u8 = 3;
const ERROR: u8 = 0xff;
const OTHER_PLUGIN: u8 = 0xfe;

/// Runs a statement as `root`, in a database or (its name empty) in none; the error is the server's
/// message.
pub(super) async fn execute(port: u16, database: &str, sql: &str) -> Result<(), String> {
    talk(port, database, sql)
        .await
        .unwrap_or_else(|error| Err(error.to_string()))
}

async fn talk(port: u16, database: &str, sql: &str) -> io::Result<Result<(), String>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    if let Err(refused) = read(&mut stream).await? {
        return Ok(Err(refused));
    }
    send(&mut stream, 1, &login(database)).await?;
    let mut sequence = 3;
    loop {
        match read(&mut stream).await? {
            Err(refused) => return Ok(Err(refused)),
            // No password is none, whatever the plugin.
            Ok(packet) if packet.first() == Some(&OTHER_PLUGIN) => {
                send(&mut stream, sequence, &[]).await?;
                sequence += 2;
            }
            Ok(_) => break,
        }
    }
    let mut query = vec![QUERY];
    query.extend(sql.as_bytes());
    send(&mut stream, 0, &query).await?;
    Ok(read(&mut stream).await?.map(drop))
}

fn login(database: &str) -> Vec<u8> {
    let with = if database.is_empty() {
        0
    } else {
        WITH_DATABASE
    };
    let mut body = (CAPABILITIES | with).to_le_bytes().to_vec();
    body.extend(MAX_PACKET.to_le_bytes());
    body.push(CHARSET);
    body.extend([0; 23]);
    // The user's name, then an empty password.
    body.extend(b"root\0\0");
    if with != 0 {
        body.extend(database.as_bytes());
        body.push(0);
    }
    body.extend(b"mysql_native_password\0");
    body
}

async fn send(stream: &mut TcpStream, sequence: u8, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).expect("statements are short");
    let mut packet = length.to_le_bytes();
    packet[3] = sequence;
    stream.write_all(&packet).await?;
    stream.write_all(body).await
}

async fn read(stream: &mut TcpStream) -> io::Result<Result<Vec<u8>, String>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    head[3] = 0;
    let length = u32::from_le_bytes(head);
    let mut body = vec![0; usize::try_from(length).expect("a machine of 32 bits or more")];
    stream.read_exact(&mut body).await?;
    Ok(match body.first() {
        Some(&ERROR) => Err(String::from_utf8_lossy(&body[1..]).into_owned()),
        _ => Ok(body),
    })
}
