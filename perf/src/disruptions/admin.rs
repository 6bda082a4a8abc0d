//! The edge's admin port: plain HTTP/1.1, a connection for each question.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

const PATIENCE: Duration = Duration::from_secs(5);

/// Whom is asked.
#[derive(Clone, Copy)]
pub(super) struct Admin(pub(super) u16);

impl Admin {
    /// A metric's value, its labels as they are written; `None` where it isn't told.
    pub(super) async fn metric(self, name: &str) -> anyhow::Result<Option<f64>> {
        let (_, text) = self.ask(Method::GET, "/metrics", Bytes::new()).await?;
        Ok(metric(&String::from_utf8_lossy(&text), name))
    }

    /// What is said of the server at this port.
    pub(super) async fn server(self, port: u16) -> anyhow::Result<Value> {
        let (_, text) = self.ask(Method::GET, "/upstreams", Bytes::new()).await?;
        let mut page: Value = serde_json::from_slice(&text).context("/upstreams")?;
        let items = page["items"].as_array_mut().context("/upstreams has no items")?;
        let address = format!("127.0.0.1:{port}");
        items.iter_mut().find(|item| item["address"] == *address).map(Value::take).context("no such server")
    }

    /// Gives an order; says the answer's status.
    pub(super) async fn order(self, path: &str, order: &Value) -> anyhow::Result<StatusCode> {
        Ok(self.ask(Method::POST, path, order.to_string().into()).await?.0)
    }

    async fn ask(self, method: Method, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let asked = async {
            let stream = TcpStream::connect(("127.0.0.1", self.0)).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
            let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
            let answer = sender.send_request(request.body(Full::new(body))?).await?;
            anyhow::Ok((answer.status(), answer.into_body().collect().await?.to_bytes()))
        };
        timeout(PATIENCE, asked).await?.with_context(|| format!("the admin port, {path}"))
    }
}

fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# HELP a b\na_b 3\na{result=\"ok\"} 2\na 1\n";
        assert_eq!(metric(text, "a"), Some(1.0));
        assert_eq!(metric(text, "a{result=\"ok\"}"), Some(2.0));
        assert_eq!(metric(text, "c"), None);
    }
}
