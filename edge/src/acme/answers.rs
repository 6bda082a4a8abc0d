//! What a CA asks to see while an order is under way. It stands in the state folder: the CA's question may reach
//! any edge, not the one that ordered.

use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;

use super::certificate;
use super::order::OrderError;
use super::state::{self, StateFolder};

/// Longer than any CA's token; a name that a file system takes.
const MAX_TOKEN_BYTES: usize = 128;

/// An answer that stands until this is dropped.
pub(super) struct Answer {
    file: PathBuf,
}

impl Drop for Answer {
    fn drop(&mut self) {
        // What can't be removed now is removed before the next order.
        let _ = state::remove(&self.file);
    }
}

/// Lets edges answer the question for `token` with `text` (RFC 8555, 8.3).
pub(super) fn publish_http(state: &StateFolder, token: &str, text: &str) -> Result<Answer, OrderError> {
    if !is_token(token) {
        return Err(OrderError::Token);
    }
    let file = state.http_answers().join(token);
    state.write(&file, text.as_bytes())?;
    Ok(Answer { file })
}

/// Lets edges show a certificate of `host` with the `digest` of the key authorization (RFC 8737, 3).
pub(super) fn publish_alpn(state: &StateFolder, host: &str, digest: &[u8]) -> Result<Answer, OrderError> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new([host.to_owned()])?;
    parameters.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = parameters.self_signed(&key)?;
    let file = alpn_file(state, host);
    state.write(&file, format!("{}{}", key.serialize_pem(), certificate.pem()).as_bytes())?;
    Ok(Answer { file })
}

/// The answer for a token, from whichever edge ordered.
pub(super) fn find_http(state: &StateFolder, token: &str) -> Option<String> {
    // What comes from outside becomes part of a path: only what can be a token does.
    if !is_token(token) {
        return None;
    }
    state::read(&state.http_answers().join(token)).ok().flatten()
}

/// The certificate that answers for a host. The name is one of ours.
pub(super) fn find_alpn(state: &StateFolder, host: &str) -> Option<Arc<CertifiedKey>> {
    let pem = state::read(&alpn_file(state, host)).ok().flatten()?;
    let (chain, key) = certificate::read(&pem).ok()?;
    // Not `from_der`: it refuses critical extensions that it doesn't know, and this certificate must have one.
    let key = ring::default_provider().key_provider.load_private_key(key).ok()?;
    Some(Arc::new(CertifiedKey::new(chain, key)))
}

/// Removes what a crash left.
pub(super) fn remove_all(state: &StateFolder) -> io::Result<()> {
    for folder in [state.http_answers(), state.alpn_answers()] {
        for entry in fs::read_dir(folder)? {
            state::remove(&entry?.path())?;
        }
    }
    Ok(())
}

fn alpn_file(state: &StateFolder, host: &str) -> PathBuf {
    state.alpn_answers().join(format!("{host}.pem"))
}

/// Whether a text can be a token: base64url without padding (RFC 8555, 8.1).
fn is_token(text: &str) -> bool {
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_TOKEN_BYTES).contains(&text.len()) && text.bytes().all(base64url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_stands_as_long_as_its_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(folder.path()).expect("a state folder");
        let answer = publish_http(&state, "to-ken_1", "to-ken_1.thumb").expect("published");
        assert_eq!(find_http(&state, "to-ken_1").as_deref(), Some("to-ken_1.thumb"));
        drop(answer);
        assert_eq!(find_http(&state, "to-ken_1"), None);
    }

    #[test]
    fn what_is_no_token_is_never_a_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(folder.path()).expect("a state folder");
        fs::write(state.http_answers().join("a.b"), "secret").expect("written");
        for text in ["", ".", "..", "../../lock", "a.b", "a/b", "a%2fb", "a\0", "ä", &"a".repeat(129)] {
            assert_eq!(find_http(&state, text), None, "{text:?}");
            assert!(publish_http(&state, text, "").is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_a_crash_left_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(folder.path()).expect("a state folder");
        std::mem::forget(publish_http(&state, "token", "text").expect("published"));
        std::mem::forget(publish_alpn(&state, "a.example", &[7; 32]).expect("published"));
        assert!(find_alpn(&state, "a.example").is_some());
        remove_all(&state).expect("removed");
        assert!(find_http(&state, "token").is_none() && find_alpn(&state, "a.example").is_none());
    }
}
