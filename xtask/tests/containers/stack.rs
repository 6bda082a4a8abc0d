//! The stack that all tests share.

use std::path::PathBuf;

use serde::Deserialize;

/// Where everything is.
#[derive(Debug, Deserialize)]
pub(crate) struct StackFile {
    pub(crate) https: String,
    pub(crate) http: String,
    pub(crate) ca: PathBuf,
    pub(crate) edge_admin: String,
    pub(crate) backends: Vec<Backend>,
    pub(crate) identity_provider: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Backend {
    pub(crate) api: String,
}

/// The stack, which runs already and goes on.
pub(crate) struct Stack {
    pub(crate) file: StackFile,
}

impl Stack {
    pub(crate) fn start() -> Self {
        let path = std::env::var_os("DAEMUN_STACK_FILE").expect("run by `cargo xtask test containers`");
        let text = std::fs::read_to_string(path).expect("a stack file");
        Self { file: serde_json::from_str(&text).expect("the contract's form") }
    }
}
