use std::time::Instant;

use serde_json::Value;

use super::{NatsServer, obtain, wire};
use crate::{
    build::free_port,
    process::{PATIENCE, POLL, PORTS},
};

/// Fewer have no majority left when one is lost.
const NODES: usize = 3;

/// Three servers that are one JetStream cluster.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts it, and returns once it takes streams.
    ///
    /// # Panics
    /// As [`NatsServer::start`].
    pub async fn start() -> Self {
        let program = obtain::nats_server().await;
        for _ in 0..PORTS {
            let routes: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
            let all: Vec<String> = routes
                .iter()
                .map(|port| format!("\"nats://127.0.0.1:{port}\""))
                .collect();
            let mut nodes = Vec::new();
            for (index, port) in routes.iter().enumerate() {
                let mut node = NatsServer::new(program.clone(), &format!("n{index}"), free_port());
                node.configure(&format!(
                    "jetstream: enabled\ncluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{}] }}",
                    all.join(", ")
                ));
                node.spawn();
                nodes.push(node);
            }
            let mut cluster = Self { nodes };
            if cluster.answers().await {
                cluster.wait_ready().await;
                return cluster;
            }
        }
        panic!("no three nats-servers start together");
    }

    /// Where clients connect, all of them.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(NatsServer::url).collect()
    }

    /// The servers.
    pub fn nodes(&mut self) -> &mut [NatsServer] {
        &mut self.nodes
    }

    /// The server that leads a stream.
    ///
    /// # Panics
    /// If there is none for a minute.
    pub async fn leader(&self, stream: &str) -> usize {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let info = self.ask(&format!("$JS.API.STREAM.INFO.{stream}")).await;
            let leader = info
                .as_ref()
                .and_then(|it| it["cluster"]["leader"].as_str());
            if let Some(node) = leader.and_then(|leader| self.running(leader)) {
                return node;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("stream {stream} has no leader");
    }

    /// SIGKILLs the server that leads a stream, and says which that was, to be started again.
    pub async fn kill_leader(&mut self, stream: &str) -> usize {
        let leader = self.leader(stream).await;
        self.nodes[leader].kill();
        leader
    }

    /// Until the cluster has a leader of its own and answers everywhere.
    async fn wait_ready(&self) {
        let start = Instant::now();
        for node in &self.nodes {
            while !is_ready(wire::ask(node.port, "$JS.API.INFO").await) {
                assert!(start.elapsed() < PATIENCE, "{}", node.log());
                tokio::time::sleep(POLL).await;
            }
        }
    }

    async fn answers(&mut self) -> bool {
        for node in &mut self.nodes {
            if !node.answers().await {
                return false;
            }
        }
        true
    }

    async fn ask(&self, subject: &str) -> Option<Value> {
        for node in self.nodes.iter().filter(|node| node.process.runs()) {
            if let Some(answer) = wire::ask(node.port, subject).await {
                return Some(answer);
            }
        }
        None
    }

    /// A server's number, if it runs.
    fn running(&self, name: &str) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.name == name && node.process.runs())
    }
}

fn is_ready(info: Option<Value>) -> bool {
    info.is_some_and(|info| info["error"].is_null())
}
