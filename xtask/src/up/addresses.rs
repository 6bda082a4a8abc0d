//! Where the stack's processes listen, read from their own configuration, and whether those places are free.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, bail};
use toml_edit::{DocumentMut, Item};

/// All addresses that a stack listens on.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) edge_admin: SocketAddr,
    pub(crate) backends: Vec<BackendAddresses>,
    pub(crate) identity_provider: SocketAddr,
    pub(crate) redis: SocketAddr,
}

/// The addresses of one backend.
#[derive(Debug)]
pub(crate) struct BackendAddresses {
    pub(crate) api: SocketAddr,
    pub(crate) management: SocketAddr,
}

impl Addresses {
    /// Reads them from the edge's configuration, which knows all backends, and from a backend's.
    pub(crate) fn read(edge: &DocumentMut, backend: &DocumentMut) -> anyhow::Result<Self> {
        let servers = item_at(edge.as_item(), &["upstreams", "backend", "servers"])?;
        let servers = servers.as_array().context("`upstreams.backend.servers` is no list")?;
        let backends = servers
            .iter()
            .map(|server| {
                let address = |key: &str| {
                    let text = server.as_inline_table().and_then(|server| server.get(key)?.as_str());
                    parse(text.with_context(|| format!("a server of `upstreams.backend` has no `{key}`"))?)
                };
                Ok(BackendAddresses { api: address("address")?, management: address("management")? })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let providers = item_at(backend.as_item(), &["providers"])?;
        let issuer =
            providers.as_array_of_tables().and_then(|providers| providers.get(0)?.get("issuer")?.as_str());
        Ok(Self {
            https: parse(text_at(edge, &["listen", "https"])?)?,
            http: parse(text_at(edge, &["listen", "http"])?)?,
            edge_admin: parse(text_at(edge, &["listen", "admin"])?)?,
            backends,
            identity_provider: parse_url(issuer.context("[[providers]] names no issuer")?)?,
            redis: parse_url(text_at(backend, &["redis", "url"])?)?,
        })
    }

    /// Makes sure that every address is free, by listening on it for a moment the way the servers will.
    pub(crate) fn ensure_free(&self) -> anyhow::Result<()> {
        let edge = [
            (self.https, "edge, HTTPS".to_owned()),
            (self.http, "edge, HTTP".to_owned()),
            (self.edge_admin, "edge, admin".to_owned()),
        ];
        let backends = self.backends.iter().enumerate().flat_map(|(index, backend)| {
            [
                (backend.api, format!("backend-{index}, API")),
                (backend.management, format!("backend-{index}, management")),
            ]
        });
        let others =
            [(self.identity_provider, "identity provider".to_owned()), (self.redis, "Redis".to_owned())];
        edge.into_iter()
            .chain(backends)
            .chain(others)
            .try_for_each(|(address, user)| ensure_free(address, &user))
    }
}

fn ensure_free(address: SocketAddr, user: &str) -> anyhow::Result<()> {
    let port = address.port();
    // The standard library sets SO_REUSEADDR, as the servers do: connections of a stack that has just ended
    // don't count.
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("port {port} ({user}) is in use; stop what uses it or choose --port-offset")
        }
        Err(error) => Err(error).with_context(|| format!("port {port} ({user}) can't be used")),
    }
}

/// The text at a place in a document.
pub(crate) fn text_at<'a>(document: &'a DocumentMut, path: &[&str]) -> anyhow::Result<&'a str> {
    item_at(document.as_item(), path)?.as_str().with_context(|| format!("`{}` is no text", path.join(".")))
}

fn item_at<'a>(item: &'a Item, path: &[&str]) -> anyhow::Result<&'a Item> {
    path.iter()
        .try_fold(item, |item, key| item.get(key))
        .with_context(|| format!("`{}` is missing", path.join(".")))
}

fn parse_url(url: &str) -> anyhow::Result<SocketAddr> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    parse(authority.split('/').next().unwrap_or(authority)).with_context(|| format!("in `{url}`"))
}

fn parse(address: &str) -> anyhow::Result<SocketAddr> {
    address.parse().with_context(|| format!("`{address}` is no address with a port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_who_needs_it() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("it is bound").port();
        for host in ["127.0.0.1", "[::]"] {
            let address = format!("{host}:{port}").parse().expect("an address");
            let error = ensure_free(address, "edge, HTTPS").expect_err("it is in use").to_string();
            let expected =
                format!("port {port} (edge, HTTPS) is in use; stop what uses it or choose --port-offset");
            assert_eq!(error, expected, "{host}");
        }
        drop(taken);
        assert!(ensure_free(format!("[::]:{port}").parse().expect("an address"), "edge, HTTPS").is_ok());
    }

    #[test]
    fn an_address_is_found_within_a_url() {
        let port = |url| parse_url(url).map(|address| address.port());
        assert_eq!(port("redis://127.0.0.1:6399").expect("an address"), 6399);
        assert_eq!(port("http://127.0.0.1:9000/google").expect("an address"), 9000);
        assert!(port("http://localhost/google").is_err());
    }
}
