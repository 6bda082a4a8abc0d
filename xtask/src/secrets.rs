//! The stack's secrets: made once, kept over a restart, readable to their owner only.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::state_dir;

/// Makes the secrets of the backends that are missing in `folder` and returns Redis's password, which its
/// configuration repeats.
pub(crate) fn ensure(folder: &Path) -> anyhow::Result<String> {
    ensure_secret(&folder.join("refresh-secret"))?;
    ensure_secret(&folder.join("redis-password"))
}

fn ensure_secret(path: &Path) -> anyhow::Result<String> {
    if !path.exists() {
        state_dir::write_private(path, random().as_bytes())?;
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// 32 random bytes in hex.
pub(crate) fn random() -> String {
    rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_32_bytes_in_hex_and_stays_the_same() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let password = ensure(folder.path()).expect("secrets are made");
        assert_eq!(password.len(), 64);
        assert!(password.chars().all(|c| c.is_ascii_hexdigit()));
        assert_eq!(ensure(folder.path()).expect("secrets are there"), password);
        let refresh = fs::read_to_string(folder.path().join("refresh-secret")).expect("it is there");
        assert_ne!(refresh, password);
    }
}
