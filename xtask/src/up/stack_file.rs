//! `stack.json`: what runs, and where, for whoever uses the stack.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::state_dir::{self, StateDir};

/// A running stack. A process id is that of the process started last.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stack {
    /// Base URL of the site.
    pub(crate) https: String,
    /// Redirects to it.
    pub(crate) http: String,
    /// The path of the CA certificate to trust.
    pub(crate) ca: String,
    /// Base URL of the edge's metrics, health and upstreams.
    pub(crate) edge_admin: String,
    /// In the order of their configuration.
    pub(crate) backends: Vec<Backend>,
    /// With the password: the file is its owner's only.
    pub(crate) redis: String,
    /// As the backends are told it.
    pub(crate) database: String,
    /// Base URL of the development identity provider.
    pub(crate) identity_provider: String,
    /// The other processes' ids, by name.
    pub(crate) pids: BTreeMap<String, u32>,
}

/// One backend of the stack.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Backend {
    pub(crate) api: String,
    pub(crate) management: String,
    pub(crate) pid: u32,
}

impl Stack {
    /// Writes the file anew.
    pub(crate) fn write(&self, state: &StateDir) -> anyhow::Result<()> {
        state_dir::write_private(&state.stack_file(), &serde_json::to_vec_pretty(self)?)
    }

    /// Reads the file of a stack that is ready; nothing if there is none.
    pub(crate) fn read(state: &StateDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(state.stack_file()).ok()?).ok()
    }

    /// Removes the file, since nothing is ready any more.
    pub(crate) fn remove(state: &StateDir) -> anyhow::Result<()> {
        state_dir::remove_if_there(&state.stack_file()).context("the stack's file is out of date")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_file_has_the_shape_that_its_readers_know() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = StateDir::open(Some(folder.path())).expect("the folder opens");
        let stack = Stack {
            https: "https://localhost:8443".into(),
            http: "http://localhost:8000".into(),
            ca: "/var/certs/ca.pem".into(),
            edge_admin: "http://127.0.0.1:9100".into(),
            backends: vec![Backend {
                api: "http://127.0.0.1:8080".into(),
                management: "http://127.0.0.1:9180".into(),
                pid: 2,
            }],
            redis: "redis://:secret@127.0.0.1:6399".into(),
            database: "sqlite:/var/daemun.db".into(),
            identity_provider: "http://127.0.0.1:9000".into(),
            pids: [("edge".to_owned(), 1), ("redis".to_owned(), 3)].into(),
        };
        stack.write(&state).expect("it is written");
        let text = fs::read_to_string(state.stack_file()).expect("it is there");
        let expected = json!({
            "https": "https://localhost:8443",
            "http": "http://localhost:8000",
            "ca": "/var/certs/ca.pem",
            "edge_admin": "http://127.0.0.1:9100",
            "backends": [{"api": "http://127.0.0.1:8080", "management": "http://127.0.0.1:9180", "pid": 2}],
            "redis": "redis://:secret@127.0.0.1:6399",
            "database": "sqlite:/var/daemun.db",
            "identity_provider": "http://127.0.0.1:9000",
            "pids": {"edge": 1, "redis": 3},
        });
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), expected);
        assert_eq!(Stack::read(&state).expect("it reads back").backends[0].pid, 2);
        Stack::remove(&state).expect("it is removed");
        assert!(Stack::read(&state).is_none());
        Stack::remove(&state).expect("removing it twice is no error");
    }
}
