//! The edge's configuration: the shipped one with other places, and limits that the load doesn't reach. What it says of
//! deadlines, health checks and retries stays as it is.

use std::path::Path;

use anyhow::Context;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, value};

/// The shipped upstream.
pub(super) const UPSTREAM: &str = "backend";
/// So many requests in the shipped time, for each client.
const LIMIT_REQUESTS: i64 = 1_000_000;
/// Beside the WebSockets: kept connections, new ones, and what an upgrade leaves for a moment.
const OTHER_CONNECTIONS: usize = 2_000;
/// What a WebSocket may take, as the shipped file says: its connection, its request, and a header.
const SOCKET_KIB: usize = 44;

/// What is put in.
pub(super) struct Places<'a> {
    pub(super) folder: &'a Path,
    /// HTTPS, HTTP, admin.
    pub(super) ports: [u16; 3],
    /// API and management of each server.
    pub(super) servers: &'a [[u16; 2]],
    pub(super) sockets: usize,
    pub(super) drain_seconds: u16,
}

pub(super) fn configuration(shipped: &str, places: &Places<'_>) -> anyhow::Result<String> {
    let mut document: DocumentMut = shipped.parse()?;
    let path = |name: &str| places.folder.join(name).display().to_string();
    for (name, port) in ["https", "http", "admin"].into_iter().zip(places.ports) {
        table(&mut document, "listen")?[name] = value(format!("127.0.0.1:{port}"));
    }
    document["hosts"] = value(Array::from_iter(["localhost"]));
    let tls = table(&mut document, "tls")?;
    tls["ticket_keys"] = value(path("ticket-keys"));
    let mut certificate = Table::new();
    certificate["certificate"] = value(path("certificate.pem"));
    certificate["private_key"] = value(path("key.pem"));
    tls["certificates"] = Item::ArrayOfTables(ArrayOfTables::from_iter([certificate]));
    let upgrade = table(&mut document, "upgrade")?;
    upgrade["socket"] = value(path("upgrade.sock"));
    upgrade["drain_seconds"] = value(i64::from(places.drain_seconds));
    servers(&mut document, places)?;
    raise_limits(&mut document, places)?;
    let routes = document.get_mut("routes").and_then(Item::as_array_of_tables_mut).context("no routes")?;
    for route in routes.iter_mut().filter(|route| route.contains_key("files")) {
        route["files"] = value(path("web"));
    }
    Ok(document.to_string())
}

fn servers(document: &mut DocumentMut, places: &Places<'_>) -> anyhow::Result<()> {
    let revocations = table(document, "tokens")?.get_mut("revocations").and_then(Item::as_table_mut);
    // There is no Redis here.
    revocations.context("no [tokens.revocations]")?["redis"] = value("none");
    let upstream = table(document, "upstreams")?.get_mut(UPSTREAM).and_then(Item::as_table_mut);
    let server = |ports: &[u16; 2]| {
        let [address, management] = ports.map(|port| format!("127.0.0.1:{port}"));
        InlineTable::from_iter([("address", address), ("management", management)])
    };
    upstream.context("no [upstreams.backend]")?["servers"] =
        value(Array::from_iter(places.servers.iter().map(server)));
    Ok(())
}

/// Never below what is shipped.
fn raise_limits(document: &mut DocumentMut, places: &Places<'_>) -> anyhow::Result<()> {
    let connections = table(document, "connections")?;
    let most = places.sockets + OTHER_CONNECTIONS;
    let wanted =
        [("max", most), ("max_per_address", most), ("memory_mib", (most * SOCKET_KIB).div_ceil(1024))];
    for (name, wanted) in wanted {
        let shipped = connections.get(name).and_then(Item::as_integer).context("a number that is shipped")?;
        connections[name] = value(shipped.max(i64::try_from(wanted)?));
    }
    for (_, limit) in table(document, "limits")?.iter_mut() {
        limit["requests"] = value(LIMIT_REQUESTS);
    }
    Ok(())
}

fn table<'a>(document: &'a mut DocumentMut, name: &str) -> anyhow::Result<&'a mut Table> {
    document.get_mut(name).and_then(Item::as_table_mut).with_context(|| format!("no [{name}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = r#"
hosts = ["a"]
[listen]
https = "${X:-[::]:8443}"
[tls]
versions = ["1.3"]
[connections]
max = 4096
max_per_address = 2048
memory_mib = 56
[upgrade]
socket = "x"
[tokens.revocations]
redis = "redis://r"
[upstreams.backend]
servers = []
health_interval_ms = 500
[limits.site]
requests = 12
[[routes]]
below = "/"
files = "../web"
[[routes]]
below = "/api"
upstream = "backend"
"#;

    #[test]
    fn places_and_limits_are_ours_and_the_rest_is_as_shipped() {
        let folder = Path::new("/folder");
        let servers = [[5, 6], [7, 8]];
        let places =
            Places { folder, ports: [1, 2, 3], servers: &servers, sockets: 1_000, drain_seconds: 20 };
        let text = configuration(SHIPPED, &places).expect("a configuration");
        let document: DocumentMut = text.parse().expect("TOML");
        assert_eq!(document["listen"]["admin"].as_str(), Some("127.0.0.1:3"));
        assert_eq!(document["upgrade"]["drain_seconds"].as_integer(), Some(20));
        assert_eq!(document["upstreams"]["backend"]["health_interval_ms"].as_integer(), Some(500));
        assert!(text.contains(r#"{ address = "127.0.0.1:7", management = "127.0.0.1:8" }"#), "{text}");
        assert_eq!(document["connections"]["max"].as_integer(), Some(4096));
        assert_eq!(document["connections"]["max_per_address"].as_integer(), Some(3_000));
        assert_eq!(document["limits"]["site"]["requests"].as_integer(), Some(LIMIT_REQUESTS));
        assert!(text.contains(r#"files = "/folder/web""#) && !text.contains("../web"));
    }

    #[test]
    fn a_configuration_without_an_upgrade_is_refused() {
        let folder = Path::new("/folder");
        let places = Places { folder, ports: [1, 2, 3], servers: &[], sockets: 1, drain_seconds: 20 };
        assert!(configuration(&SHIPPED.replace("[upgrade]", "[other]"), &places).is_err());
    }
}
