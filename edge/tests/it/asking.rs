//! Requests to an edge with a policy of the test's own: more hosts, more routes.

use crate::edge_process::Edge;
use crate::wire::{Answer, Wire};

pub(crate) const HERE: [u8; 4] = [127, 0, 0, 1];
pub(crate) const THERE: [u8; 4] = [127, 0, 0, 2];

/// An edge that also answers for `a.example` and `b.example`, with these routes beside the shipped ones.
pub(crate) async fn edge_with(routes: &str) -> Edge {
    Edge::start_with(|config| {
        let named = r#"hosts = ["a.example", "b.example", "localhost", "#;
        let config = config.replacen(r#"hosts = ["localhost", "#, named, 1);
        assert!(config.contains("b.example"), "the shipped config begins with its hosts");
        format!("{config}\n{routes}")
    })
    .await
}

/// Asks over HTTP/1.1, the lines as they are; the connection names no host, so that any of ours may be asked.
pub(crate) async fn ask(edge: &Edge, from: [u8; 4], host: &str, line: &str, fields: &[&str]) -> Answer {
    let tls = edge.dial(edge.tls_client(&[]), "127.0.0.1", from).await.expect("TLS");
    let mut wire = Wire::new(tls);
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
    wire.send(request).await.expect("sent");
    wire.answer().await.expect("an answer")
}

/// GET, without further fields.
pub(crate) async fn get(edge: &Edge, from: [u8; 4], host: &str, target: &str) -> Answer {
    ask(edge, from, host, &format!("GET {target}"), &[]).await
}

impl Answer {
    /// The values of a field; the head is in lower case.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().filter_map(|line| line.strip_prefix(&prefix)).collect()
    }

    /// The one value of a field, or nothing.
    pub(crate) fn value(&self, name: &str) -> &str {
        let values = self.values(name);
        assert!(values.len() <= 1, "{name} is there twice: {}", self.head);
        values.first().copied().unwrap_or_default()
    }
}
