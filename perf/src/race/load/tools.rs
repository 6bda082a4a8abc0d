//! The field's own load generators, and what they print.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;
use tokio::time::timeout;

use crate::race::load::{CONNECTIONS, Count, H2_CONNECTIONS, H2_STREAMS};
use crate::race::upstreams::PAGE;
use crate::target::Target;

/// Beyond the time that a tool was told.
const PATIENCE: Duration = Duration::from_secs(15);

/// HTTP/1.1.
pub(super) async fn wrk(target: &Target, token: Option<&str>, length: Duration) -> anyhow::Result<Count> {
    let mut command = Command::new("wrk");
    command.arg("--threads=1").arg(format!("--connections={CONNECTIONS}"));
    command.arg(format!("--duration={}s", length.as_secs()));
    parse_wrk(&run(command, target, token, length).await?).context("wrk's output has another form")
}

/// HTTP/2.
pub(super) async fn h2load(target: &Target, token: Option<&str>, length: Duration) -> anyhow::Result<Count> {
    let mut command = Command::new("h2load");
    command.arg("--threads=1").arg(format!("--clients={H2_CONNECTIONS}"));
    command.arg(format!("--max-concurrent-streams={H2_STREAMS}"));
    command.arg(format!("--duration={}", length.as_secs()));
    parse_h2load(&run(command, target, token, length).await?).context("h2load's output has another form")
}

async fn run(
    mut command: Command,
    target: &Target,
    token: Option<&str>,
    length: Duration,
) -> anyhow::Result<String> {
    if let Some(token) = token {
        command.arg("-H").arg(format!("Authorization: Bearer {token}"));
    }
    command.arg(format!("https://{target}{PAGE}"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(length + PATIENCE, command.output()).await.context("it doesn't end")??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {complaint}{text}", output.status);
    Ok(text)
}

/// `N requests in …`, `Requests/sec: N`, and, if there were any, `Socket errors: connect N, read N, write N, timeout N`
/// and `Non-2xx or 3xx responses: N`.
fn parse_wrk(text: &str) -> Option<Count> {
    let line = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name));
    let requests: u64 =
        text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0.parse().ok()?;
    let total: f64 = line("Requests/sec:")?.trim().parse().ok()?;
    let errors = line("Socket errors:").map_or(Some(0), sum)?;
    let refused = line("Non-2xx or 3xx responses:").map_or(Some(0), sum)?;
    let done = requests.checked_sub(refused)?;
    Some(Count { done, failed: errors + refused, per_second: share(total, done, requests) })
}

/// `finished in …, N req/s, …`, `requests: … N succeeded, N failed, N errored, N timeout`, `status codes: N 2xx, …`.
fn parse_h2load(text: &str) -> Option<Count> {
    let line = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name));
    let before = |line: &str, what: &str| {
        let mut parts = line.split(',');
        parts.find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<f64>().ok())
    };
    let count = |line: &str, what: &str| Some(before(line, what)? as u64);
    let total = before(line("finished in ")?, "req/s")?;
    let requests = line("requests:")?;
    let ended = count(requests, "done")?;
    let done = count(line("status codes:")?, "2xx")?;
    let lost = count(requests, "timeout")?;
    Some(Count { done, failed: ended.saturating_sub(done) + lost, per_second: share(total, done, ended) })
}

/// Of a rate of all requests, that of those which were answered well.
#[expect(clippy::cast_precision_loss, reason = "counts of a minute's requests")]
fn share(total: f64, done: u64, requests: u64) -> f64 {
    if requests == 0 { 0.0 } else { total * done as f64 / requests as f64 }
}

/// Of all numbers in a line.
fn sum(line: &str) -> Option<u64> {
    line.split([' ', ','])
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(|n| n.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_read() {
        let text = "Running 1s test @ https://localhost:1/x\n  1 threads and 8 connections\n  Thread Stats   Avg\n    \
                    Latency   459.38us    1.01ms  11.12ms   91.40%\n    Req/Sec    36.25k     6.48k   47.98k    72.73%\n  \
                    40000 requests in 1.11s, 11.86MB read\nRequests/sec:  36000.50\nTransfer/sec:     10.67MB\n";
        assert_eq!(parse_wrk(text), Some(Count { done: 40_000, failed: 0, per_second: 36_000.5 }));
        let failing = text.replace(
            "Requests/sec",
            "  Socket errors: connect 1, read 2, write 0, timeout 3\n  Non-2xx or 3xx responses: 10000\nRequests/sec",
        );
        let expected = Count { done: 30_000, failed: 10_006, per_second: 27_000.375 };
        assert_eq!(parse_wrk(&failing), Some(expected));
        assert_eq!(parse_wrk("unable to connect to localhost:1 Connection refused\n"), None);
    }

    #[test]
    fn what_h2load_prints_is_read() {
        let text = "Stopped all clients for thread #0\n\nfinished in 1.01s, 25000.00 req/s, 5.61MB/s\n\
                    requests: 25000 total, 25016 started, 25000 done, 20000 succeeded, 5000 failed, 2 errored, 1 timeout\n\
                    status codes: 20000 2xx, 0 3xx, 1 4xx, 4997 5xx\ntraffic: 5.61MB (5883435) total\n";
        let expected = Count { done: 20_000, failed: 5_001, per_second: 20_000.0 };
        assert_eq!(parse_h2load(text), Some(expected));
        let none = "finished in 1.00s, 0.00 req/s, 0B/s\nrequests: 0 total, 0 started, 0 done, 0 succeeded, 0 failed, \
                    0 errored, 0 timeout\nstatus codes: 0 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        assert_eq!(parse_h2load(none), Some(Count { done: 0, failed: 0, per_second: 0.0 }));
        assert_eq!(parse_h2load(""), None);
    }
}
