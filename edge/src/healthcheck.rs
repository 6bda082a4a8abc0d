//! `edge healthcheck`: asks the running edge on its admin port whether it serves; what a container's health check runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;

use crate::config::Policy;
use crate::upstream::Probe;

/// Shorter than the interval at which it is run.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Fails unless the edge of this policy answers its health page.
pub fn run(policy: &Policy) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let admin = reachable(policy.listen.admin);
    runtime
        .block_on(async { Probe::new(TIMEOUT).get(admin, "/health").await })
        .map(drop)
        .with_context(|| format!("the edge does not serve at {admin}"))
}

/// A listener on all addresses is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
