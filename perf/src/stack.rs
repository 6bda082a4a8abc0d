//! A running stack, as its `stack.json` describes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::target::Target;

/// What a measurement needs to know of a stack.
#[derive(Debug, Deserialize)]
pub(crate) struct Stack {
    https: String,
    /// The path of the CA certificate to trust.
    pub(crate) ca: PathBuf,
    pids: BTreeMap<String, u32>,
    /// In the order of their configuration.
    #[serde(default)]
    pub(crate) backends: Vec<Backend>,
    /// With its password.
    #[serde(default)]
    pub(crate) redis: String,
    /// Base URL of the development identity provider.
    #[serde(default)]
    pub(crate) identity_provider: String,
}

/// One backend of a stack.
#[derive(Debug, Deserialize)]
pub(crate) struct Backend {
    /// Base URL of its routes.
    pub(crate) api: String,
    #[serde(default)]
    pub(crate) pid: u32,
}

impl Stack {
    /// Reads the file that `cargo xtask up` keeps up to date.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("{}: start a stack with cargo xtask up --detach", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a stack's", file.display()))
    }

    /// The edge's front door.
    pub(crate) fn edge(&self) -> anyhow::Result<Target> {
        let authority = self.https.strip_prefix("https://").context("the stack's https is no https URL")?;
        authority.trim_end_matches('/').parse()
    }

    /// Redis' process id.
    pub(crate) fn redis_pid(&self) -> anyhow::Result<u32> {
        self.pids.get("redis").copied().context("the stack has no Redis")
    }

    /// The process id of the edge that was started last.
    pub(crate) fn edge_pid(&self) -> anyhow::Result<u32> {
        self.pids.get("edge").copied().context("the stack has no edge")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_says_where_its_edge_is() {
        let text = r#"{"https": "https://localhost:8443", "http": "", "ca": "/ca.pem", "pids": {"edge": 7}}"#;
        let stack: Stack = serde_json::from_str(text).expect("a stack");
        assert_eq!(stack.edge().expect("a target").address.port(), 8443);
        assert_eq!(stack.edge_pid().expect("a pid"), 7);
        assert!(stack.backends.is_empty());
    }
}
