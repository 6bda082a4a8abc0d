//! The stack's secrets: made once, kept over a restart, readable to their owner only.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::state_dir::{self, StateDir};

/// Makes the secrets that are missing and returns Redis's password, which its configuration repeats.
pub(crate) fn ensure(state: &StateDir) -> anyhow::Result<String> {
    let folder = state.folder("secrets").context("cannot make the folder of the secrets")?;
    ensure_secret(&folder.join("refresh-secret"))?;
    ensure_secret(&folder.join("redis-password"))
}

fn ensure_secret(path: &Path) -> anyhow::Result<String> {
    if !path.exists() {
        let secret: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
        state_dir::write_private(path, secret.as_bytes())?;
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_32_bytes_in_hex_and_stays_the_same() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = StateDir::open(Some(folder.path())).expect("the folder opens");
        let password = ensure(&state).expect("secrets are made");
        assert_eq!(password.len(), 64);
        assert!(password.chars().all(|c| c.is_ascii_hexdigit()));
        assert_eq!(ensure(&state).expect("secrets are there"), password);
        let refresh = fs::read_to_string(folder.path().join("secrets/refresh-secret")).expect("it is there");
        assert_ne!(refresh, password);
    }
}
