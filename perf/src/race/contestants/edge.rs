//! This project's edge. Its configuration is the shipped one with other places, one route and one limit: what it says
//! of deadlines, sizes and health checks stays as it is.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, value};

use crate::race::contestants::{Place, Policy};
use crate::race::ground::{ALLOWED, LIMIT_REQUESTS, LIMIT_SECONDS};
use crate::race::upstreams::{HEALTH, JWKS};
use crate::token::ISSUER;

/// More than any load opens.
const CONNECTIONS: i64 = 4_096;

pub(super) fn prepare(base: &Path, place: &Place<'_>, command: &mut Command) -> anyhow::Result<()> {
    let text = fs::read_to_string(base).with_context(|| format!("{} can't be read", base.display()))?;
    let text = configuration(&text, place).with_context(|| base.display().to_string())?;
    command.arg("run").arg(place.write("toml", &text)?);
    if !place.ground.access_log {
        command.env("RUST_LOG", "warn,access=off");
    }
    Ok(())
}

fn configuration(base: &str, place: &Place<'_>) -> anyhow::Result<String> {
    let mut document: DocumentMut = base.parse()?;
    for unused in ["acme", "headers", "hsts"] {
        document.remove(unused);
    }
    document["hosts"] = value(Array::from_iter(["localhost"]));
    document["trusted_proxies"] = value(Array::new());
    for (name, port) in ["https", "http", "admin"].into_iter().zip(place.ports) {
        document["listen"][name] = value(format!("127.0.0.1:{port}"));
    }
    let tls = table(&mut document, "tls")?;
    tls["versions"] = value(Array::from_iter(["1.3"]));
    tls.remove("ticket_keys");
    let mut certificate = Table::new();
    certificate["certificate"] = value(place.shared("certificate.pem"));
    certificate["private_key"] = value(place.shared("key.pem"));
    tls["certificates"] = Item::ArrayOfTables(ArrayOfTables::from_iter([certificate]));
    let connections = table(&mut document, "connections")?;
    connections["max"] = value(CONNECTIONS);
    connections["max_per_address"] = value(CONNECTIONS);
    table(&mut document, "shutdown")?["grace_seconds"] = value(1);
    upstreams(&mut document, place)?;
    limits_and_routes(&mut document, place.policy);
    Ok(document.to_string())
}

/// The first upstream of the base, with our servers.
fn upstreams(document: &mut DocumentMut, place: &Place<'_>) -> anyhow::Result<()> {
    let all = table(document, "upstreams")?;
    let name = all.iter().next().map(|(name, _)| name.to_owned()).context("no upstream")?;
    let mut upstream = all.remove(&name).context("no upstream")?;
    let server = |port: u16| {
        let address = format!("127.0.0.1:{port}");
        InlineTable::from_iter([("address", address.clone()), ("management", address)])
    };
    upstream["servers"] = value(Array::from_iter(place.ground.upstreams.ports.map(server)));
    upstream["health_path"] = value(HEALTH);
    let mut ours = Table::new();
    ours.set_implicit(true);
    ours.insert("race", upstream);
    document["upstreams"] = Item::Table(ours);
    let tokens = table(document, "tokens")?;
    tokens["issuer"] = value(ISSUER);
    tokens["audience"] = value(ISSUER);
    tokens["upstream"] = value("race");
    tokens["jwks_path"] = value(JWKS);
    tokens.remove("revocations");
    Ok(())
}

fn limits_and_routes(document: &mut DocumentMut, policy: Policy) {
    let mut route = Table::new();
    route["below"] = value("/");
    route["upstream"] = value("race");
    document.remove("limits");
    if policy == Policy::Full {
        let mut limit = Table::new();
        limit["requests"] = value(i64::from(LIMIT_REQUESTS));
        limit["seconds"] = value(i64::from(LIMIT_SECONDS));
        let mut limits = Table::new();
        limits["race"] = Item::Table(limit);
        document["limits"] = Item::Table(limits);
        route["allow"] = value(Array::from_iter(ALLOWED));
        route["limits"] = value(Array::from_iter(["race"]));
        route["token"] = value("required");
    }
    document["routes"] = Item::ArrayOfTables(ArrayOfTables::from_iter([route]));
}

fn table<'a>(document: &'a mut DocumentMut, name: &str) -> anyhow::Result<&'a mut Table> {
    document.get_mut(name).and_then(Item::as_table_mut).with_context(|| format!("no [{name}]"))
}
