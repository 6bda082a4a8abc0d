//! The refresh token: `SESSION.NUMBER.MAC`. Opaque to clients; for us it says which session it belongs to and which
//! in the line of rotations it is. A forged one is refused without asking Redis.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

/// Ours are about 100 bytes.
const MAX_BYTES: usize = 256;

/// Makes and reads refresh tokens under one secret.
#[derive(Clone)]
pub(super) struct RefreshTokens {
    mac: Hmac<Sha256>,
}

/// What a refresh token says, proven to be said by us.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefreshToken {
    /// The session's id.
    pub(super) session_id: String,
    /// Counts the session's rotations.
    pub(super) number: u64,
}

impl RefreshTokens {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self { mac: Hmac::new_from_slice(secret).expect("HMAC takes a key of any length") }
    }

    pub(super) fn issue(&self, token: &RefreshToken) -> String {
        let content = format!("{}.{}", token.session_id, token.number);
        let mac = self.mac.clone().chain_update(&content).finalize().into_bytes();
        format!("{content}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// What `text` says, unless it isn't ours. The comparison takes the same time wherever the MAC differs.
    pub(super) fn read(&self, text: &str) -> Option<RefreshToken> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (content, mac) = text.rsplit_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        self.mac.clone().chain_update(content).verify_slice(&mac).ok()?;
        let (session_id, number) = content.split_once('.')?;
        Uuid::try_parse(session_id).ok()?;
        Some(RefreshToken { session_id: session_id.to_owned(), number: number.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> RefreshToken {
        RefreshToken { session_id: Uuid::nil().to_string(), number: 7 }
    }

    #[test]
    fn a_token_reads_back_under_its_own_secret_only() {
        let tokens = RefreshTokens::new(b"one secret");
        let text = tokens.issue(&token());
        assert_eq!(tokens.read(&text), Some(token()));
        assert_eq!(RefreshTokens::new(b"another").read(&text), None);
    }

    proptest! {
        #[test]
        fn a_changed_token_is_refused(at in 0_usize..80, to in "[0-9a-zA-Z._-]") {
            let tokens = RefreshTokens::new(b"one secret");
            let text = tokens.issue(&token());
            let mut changed = text.clone();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != text);
            prop_assert_eq!(tokens.read(&changed), None);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,300}") {
            prop_assert_eq!(RefreshTokens::new(b"one secret").read(&text), None);
        }
    }
}
