//! Telling whoever started this process that it is ready: systemd, or `decnet webhook -d`.

use std::{
    env, io,
    io::Write,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// The line that a daemon's child writes to its standard output, a pipe its parent reads.
pub(crate) const READY_LINE: &str = "ready";

/// Ready to serve. `pipe` is set when standard output leads to a waiting parent.
pub(crate) fn ready(pipe: bool) {
    systemd("READY=1");
    if pipe {
        // The parent may have given up; this process then goes on as any other would.
        let _ = writeln!(io::stdout(), "{READY_LINE}").and_then(|()| io::stdout().flush());
    }
}

/// On the way out.
pub(crate) fn stopping() {
    systemd("STOPPING=1");
}

/// One datagram of sd_notify(3). Without systemd, or when it does not listen, nothing happens:
/// readiness is a courtesy and must not stop a server.
fn systemd(message: &str) {
    if let Some(name) = env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(name.as_encoded_bytes(), message)
    {
        tracing::warn!(%error, message, "systemd could not be told");
    }
}

fn send(name: &[u8], message: &str) -> io::Result<()> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::new(
            std::str::from_utf8(name).map_err(io::Error::other)?,
        ))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_to_paths_and_abstract_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str().as_encoded_bytes(), "READY=1").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 7);
        assert_eq!(&buffer[..7], b"READY=1");

        let name = format!("decnet-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        send(format!("@{name}").as_bytes(), "STOPPING=1").unwrap();
        assert_eq!(socket.recv(&mut buffer).unwrap(), 10);
    }
}
