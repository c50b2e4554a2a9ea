//! Servers for what no receiver of the testkit does: whoever answers before the request is there.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Serves each connection as a closure says; ends with its value.
pub(crate) struct Server {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on((Ipv4Addr::LOCALHOST, 0).into(), serve).await
    }

    pub(crate) async fn on<F>(
        addr: SocketAddr,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let mut accepting = JoinSet::new();
        accepting.spawn({
            let connections = Arc::clone(&connections);
            async move {
                let mut serving = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    serving.spawn(serve(stream));
                }
            }
        });
        Self {
            addr,
            connections,
            _accepting: accepting,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/T0KEN", self.addr)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Whatever comes first; nothing if the other side is gone.
pub(crate) async fn read_some(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut buffer = vec![0; 16 * 1024];
    let n = stream.read(&mut buffer).await.unwrap_or(0);
    buffer.truncate(n);
    buffer
}

/// A whole request with a body, as text; nothing when there is none any more.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = String::new();
    loop {
        let read = read_some(stream).await;
        if read.is_empty() {
            return None;
        }
        text.push_str(&String::from_utf8_lossy(&read));
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && body.ends_with('}')
        {
            return Some(text);
        }
    }
}

/// Until the other side is gone.
pub(crate) async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    while !read_some(stream).await.is_empty() {}
}
