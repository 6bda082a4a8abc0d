//! Derives each process's own configuration from the shipped one: ports shifted, paths absolute, all else,
//! comments included, as it was.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value, value};

use crate::state_dir::{self, StateDir};
use crate::up::addresses::{Addresses, text_at};
use crate::up::database::Database;
use crate::workspace;

/// Addresses of this machine, as configuration writes them before a port.
const OWN_HOSTS: [&str; 5] = ["127.0.0.1:", "[::1]:", "[::]:", "0.0.0.0:", "localhost:"];

/// What the shipped files take from the environment on a developer's machine: the identity provider that `up` starts
/// vouches for everybody.
const DEVELOPMENT: [(&str, &str); 14] = [
    ("DAEMUN_MODE", "development"),
    ("GOOGLE_ISSUER", "http://127.0.0.1:9000/google"),
    ("GOOGLE_JWKS_URL", "http://127.0.0.1:9000/google/jwks.json"),
    ("GOOGLE_AUTHORIZATION_URL", "http://127.0.0.1:9000/google/authorize"),
    ("GOOGLE_TOKEN_URL", "http://127.0.0.1:9000/google/token"),
    ("GOOGLE_CLIENT_ID", "daemun-development"),
    ("GOOGLE_CLIENT_SECRET", "daemun-development-secret"),
    ("KAKAO_ISSUER", "http://127.0.0.1:9000/kakao"),
    ("KAKAO_JWKS_URL", "http://127.0.0.1:9000/kakao/jwks.json"),
    ("KAKAO_AUTHORIZATION_URL", "http://127.0.0.1:9000/kakao/authorize"),
    ("KAKAO_TOKEN_URL", "http://127.0.0.1:9000/kakao/token"),
    ("KAKAO_CLIENT_ID", "daemun-development"),
    ("KAKAO_CLIENT_SECRET", "daemun-development-secret"),
    ("KAKAO_ADMIN_KEY", "daemun-development-admin-key"),
];

/// Where relative paths of the shipped configuration lead.
#[derive(Debug)]
struct Places<'a> {
    /// The folder that holds the shipped configuration.
    config: &'a Path,
    /// What stands for `../var`.
    state: &'a Path,
    port_offset: u16,
}

/// The configurations of one stack, not written yet.
#[derive(Debug)]
pub(crate) struct EffectiveConfig {
    edge: DocumentMut,
    backends: Vec<DocumentMut>,
    redis: String,
    redis_dir: PathBuf,
    /// Where all processes will listen.
    pub(crate) addresses: Addresses,
}

impl EffectiveConfig {
    /// Reads the shipped configuration and fits it to `state`, and to another database than the stack's own.
    pub(crate) fn derive(
        state: &StateDir,
        port_offset: u16,
        database: Option<&Database>,
    ) -> anyhow::Result<Self> {
        let config = workspace::root().join("config");
        let places = Places { config: &config, state: state.path(), port_offset };
        let read = |name: &str| {
            let path = config.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mut edge = places.fit("edge.toml", &read("edge.toml")?)?;
        let certificates = state.path().join("certs");
        let pair = first_certificate(&mut edge).context("config/edge.toml names no certificate")?;
        pair["certificate"] = value(path_text(&certificates.join("localhost.pem"))?);
        pair["private_key"] = value(path_text(&certificates.join("localhost-key.pem"))?);
        let mut backend = places.fit("backend.toml", &read("backend.toml")?)?;
        if let Some(Database { url, password_file }) = database {
            set(&mut backend, "database", "url", url.clone())?;
            let file = password_file.as_deref().map(path_text).transpose()?.unwrap_or_default();
            set(&mut backend, "database", "password_file", file)?;
        }
        let addresses = Addresses::read(&edge, &backend)?;
        let backends = addresses
            .backends
            .iter()
            .map(|address| {
                let mut backend = backend.clone();
                set(&mut backend, "listen", "api", address.api.to_string())?;
                set(&mut backend, "listen", "management", address.management.to_string())?;
                Ok(backend)
            })
            .collect::<anyhow::Result<_>>()?;
        let redis_dir = state.path().join("redis");
        Ok(Self { edge, backends, redis: read("redis.conf")?, redis_dir, addresses })
    }

    /// The database's address, as the backends are told it.
    pub(crate) fn database(&self) -> anyhow::Result<&str> {
        let backend = self.backends.first().context("config/edge.toml names no backend")?;
        text_at(backend, &["database", "url"])
    }

    /// Writes every file into `config/` of the state directory.
    pub(crate) fn write(&self, state: &StateDir, redis_password: &str) -> anyhow::Result<()> {
        let folder = state.folder("config").context("cannot make the folder of the configuration")?;
        state.folder("redis").context("cannot make the folder of Redis's data")?;
        let write = |name: &str, content: &str| {
            state_dir::write_private(&folder.join(name), format!("{MADE}{content}").as_bytes())
        };
        write("edge.toml", &self.edge.to_string())?;
        for (index, backend) in self.backends.iter().enumerate() {
            write(&format!("backend-{index}.toml"), &backend.to_string())?;
        }
        write("redis.conf", &self.redis_conf(redis_password)?)
    }

    fn redis_conf(&self, password: &str) -> anyhow::Result<String> {
        let folder = path_text(&self.redis_dir)?;
        if folder.contains(['"', '\\', '\n']) {
            bail!("{folder} can't be written in Redis's configuration; choose another state directory");
        }
        Ok(format!(
            "{}\n# This stack's own.\nport {}\ndir \"{folder}\"\nrequirepass {password}\ndaemonize no\nlogfile \"\"\n",
            self.redis.trim_end(),
            self.addresses.redis.port(),
        ))
    }
}

const MADE: &str = "# Made by `cargo xtask up` from what is shipped in config/: changes here are lost.\n";

impl Places<'_> {
    /// A shipped file with its addresses and paths fitted to this stack.
    fn fit(&self, name: &str, text: &str) -> anyhow::Result<DocumentMut> {
        let text = config_text::expand(text, development).map_err(|unset| {
            let names: Vec<_> = unset.into_iter().map(|unset| unset.name).collect();
            anyhow!("config/{name} asks for {}, which `up` does not set", names.join(", "))
        })?;
        let mut document: DocumentMut =
            text.parse().with_context(|| format!("config/{name} is not valid TOML"))?;
        self.fit_table(document.as_table_mut()).with_context(|| format!("cannot use config/{name}"))?;
        Ok(document)
    }

    fn fit_table(&self, table: &mut dyn TableLike) -> anyhow::Result<()> {
        for (_, item) in table.iter_mut() {
            match item {
                Item::Value(value) => self.fit_value(value)?,
                Item::Table(table) => self.fit_table(table)?,
                Item::ArrayOfTables(tables) => {
                    for table in tables.iter_mut() {
                        self.fit_table(table)?;
                    }
                }
                Item::None => {}
            }
        }
        Ok(())
    }

    fn fit_value(&self, value: &mut Value) -> anyhow::Result<()> {
        match value {
            Value::String(text) => {
                let fitted = self.fit_path(&self.shift_port(text.value())?)?;
                replace(value, fitted);
            }
            Value::Array(values) => {
                for value in values.iter_mut() {
                    self.fit_value(value)?;
                }
            }
            Value::InlineTable(table) => self.fit_table(table)?,
            _ => {}
        }
        Ok(())
    }

    /// `text` with the port of an address of this machine shifted, also within a URL.
    fn shift_port(&self, text: &str) -> anyhow::Result<String> {
        for host in OWN_HOSTS {
            let Some(start) = text.find(host).map(|at| at + host.len()) else { continue };
            let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
            let (before, rest) = text.split_at(start);
            let (port, after) = rest.split_at(digits);
            let Ok(port) = port.parse::<u16>() else { continue };
            let Some(shifted) = port.checked_add(self.port_offset) else {
                bail!("port {port} shifted by {} is no port", self.port_offset);
            };
            return Ok(format!("{before}{shifted}{after}"));
        }
        Ok(text.to_owned())
    }

    /// `text` with a path that leaves the configuration's folder made absolute; what lay in `../var` comes to
    /// lie in the state directory.
    fn fit_path(&self, text: &str) -> anyhow::Result<String> {
        let (scheme, path) =
            text.split_once(':').filter(|(_, path)| path.starts_with("../")).unwrap_or(("", text));
        let Some(beside) = path.strip_prefix("../") else { return Ok(text.to_owned()) };
        let absolute = match beside.strip_prefix("var/") {
            Some(inside) => self.state.join(inside),
            None => self.config.parent().context("the configuration lies in a folder")?.join(beside),
        };
        let absolute = path_text(&absolute)?;
        Ok(if scheme.is_empty() { absolute } else { format!("{scheme}:{absolute}") })
    }
}

fn first_certificate(edge: &mut DocumentMut) -> Option<&mut Table> {
    edge.get_mut("tls")?.get_mut("certificates")?.as_array_of_tables_mut()?.get_mut(0)
}

fn development(name: &str) -> Option<String> {
    DEVELOPMENT.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn set(document: &mut DocumentMut, table: &str, key: &str, text: String) -> anyhow::Result<()> {
    let item = document
        .get_mut(table)
        .and_then(|table| table.get_mut(key))
        .with_context(|| format!("`{key}` of [{table}] is missing"))?;
    match item.as_value_mut() {
        Some(old) => replace(old, text),
        None => *item = value(text),
    }
    Ok(())
}

/// Replaces a value, but not the comment behind it.
fn replace(old: &mut Value, text: String) {
    let decor = old.decor().clone();
    *old = text.into();
    *old.decor_mut() = decor;
}

fn path_text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(port_offset: u16) -> Places<'static> {
        Places { config: Path::new("/src/config"), state: Path::new("/state"), port_offset }
    }

    fn shipped(port_offset: u16) -> (EffectiveConfig, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = StateDir::open(Some(folder.path())).expect("the folder opens");
        (
            EffectiveConfig::derive(&state, port_offset, None).expect("the shipped configuration is fine"),
            folder,
        )
    }

    /// The lines that hold no setting.
    fn comments(text: &str) -> Vec<&str> {
        text.lines().filter(|line| line.trim_start().starts_with('#')).collect()
    }

    #[test]
    fn every_port_of_the_shipped_configuration_is_shifted() {
        let (config, _folder) = shipped(1000);
        let addresses = &config.addresses;
        let ports = |offset: u16| {
            let backends = [8080, 9180, 8081, 9181].map(|port: u16| port + offset);
            ([8443, 8000, 9100, 9000, 6399].map(|port: u16| port + offset), backends)
        };
        let [first, second] = addresses.backends.as_slice() else { panic!("two backends") };
        let edge = [addresses.https, addresses.http, addresses.edge_admin];
        let others = [addresses.identity_provider, addresses.redis];
        let backends = [first.api, first.management, second.api, second.management].map(|a| a.port());
        let single: Vec<_> = edge.iter().chain(&others).map(|address| address.port()).collect();
        assert_eq!((single.as_slice(), backends), (ports(1000).0.as_slice(), ports(1000).1));
        for (index, backend) in config.backends.iter().enumerate() {
            let text = backend.to_string();
            assert!(text.contains(&format!("api = \"127.0.0.1:{}\"", 9080 + index)), "{text}");
            assert!(text.contains("http://127.0.0.1:10000/google/jwks.json"), "{text}");
        }
    }

    #[test]
    fn comments_stay_where_they_were() {
        let (config, _folder) = shipped(7);
        for (name, derived) in [("edge.toml", &config.edge), ("backend.toml", &config.backends[1])] {
            let original =
                fs::read_to_string(workspace::root().join("config").join(name)).expect("it is shipped");
            assert_eq!(comments(&original), comments(&derived.to_string()), "{name}");
            assert_eq!(original.lines().count(), derived.to_string().lines().count(), "{name}");
        }
        let fitted = places(1).fit("x", "a = \"127.0.0.1:1\" # why\n").expect("valid");
        assert_eq!(fitted.to_string(), "a = \"127.0.0.1:2\" # why\n");
    }

    #[test]
    fn paths_become_absolute_and_var_becomes_the_state_directory() {
        let fit = |text| places(0).fit_path(text).expect("a path");
        assert_eq!(fit("../var/keys"), "/state/keys");
        assert_eq!(fit("sqlite:../var/daemun.db"), "sqlite:/state/daemun.db");
        assert_eq!(fit("../web"), "/src/web");
        assert_eq!(fit("/api/vendors/{id}"), "/api/vendors/{id}");
        let (config, folder) = shipped(0);
        let folder = folder.path().canonicalize().expect("it is there");
        assert_eq!(config.database().expect("a database"), format!("sqlite:{}/daemun.db", folder.display()));
        let edge = config.edge.to_string();
        let relative = edge.lines().find(|line| !line.starts_with('#') && line.contains("\"../"));
        assert_eq!(relative, None);
        // The edge learns revocations from this stack's Redis.
        assert!(edge.contains("redis = \"redis://127.0.0.1:6399\""), "{edge}");
        assert!(edge.contains(&format!("\"{}/secrets/redis-password\"", folder.display())), "{edge}");
    }

    #[test]
    fn only_ports_of_this_machine_are_shifted() {
        let shift = |text| places(5).shift_port(text).expect("a port");
        assert_eq!(shift("[::]:8443"), "[::]:8448");
        assert_eq!(shift("redis://127.0.0.1:6399"), "redis://127.0.0.1:6404");
        for untouched in ["127.0.0.1", "127.0.0.1/32", "[::1]", "https://kauth.kakao.com:443", "google:admin"]
        {
            assert_eq!(shift(untouched), untouched);
        }
        assert!(places(60_000).shift_port("127.0.0.1:8080").is_err());
    }

    #[test]
    fn redis_gets_its_port_folder_and_password() {
        let (config, folder) = shipped(1);
        let state = StateDir::open(Some(folder.path())).expect("the folder opens");
        config.write(&state, "secret").expect("it is written");
        let text = fs::read_to_string(state.path().join("config/redis.conf")).expect("it is there");
        let dir = format!("dir \"{}\"", state.path().join("redis").display());
        for line in ["port 6400", dir.as_str(), "requirepass secret", "appendonly yes"] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
    }
}
