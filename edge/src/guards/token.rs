//! Who it is: access tokens, verified with the backends' public keys, and the roles that a route asks for.

use std::sync::Arc;

use access_token::{Denial, KeySet, Revocations, TokenError, VerifiedTokens, Verifier};
use arc_swap::ArcSwap;
use http::{HeaderValue, StatusCode, header};
use tokio::sync::{Notify, watch};

use super::{Findings, Guard, Verdict};
use crate::config::{TokenPolicy, TokenRule};
use crate::problem::Problem;
use crate::request::{Bearer, RequestView};
use crate::routes::Matched;

/// Tokens that are remembered as verified: a good KiB each (config/budget.toml), as many as there are connections.
const REMEMBERED: usize = 4096;

/// The guard's name.
pub const NAME: &str = "token";

/// The keys in force. The refresher stores them, the guard reads them, an unknown key id asks for a refresh.
#[derive(Default)]
pub struct KeyStore {
    keys: ArcSwap<KeySet>,
    wanted: Notify,
    read: watch::Sender<bool>,
}

impl KeyStore {
    /// Takes a new set into force.
    pub fn store(&self, keys: KeySet) {
        self.keys.store(Arc::new(keys));
        self.read.send_replace(true);
    }

    /// Waits until a set was read.
    pub async fn wait_until_read(&self) {
        // The sender lives as long as `self`.
        let _ = self.read.subscribe().wait_for(|is_read| *is_read).await;
    }

    /// Whether no key was ever read.
    pub fn is_empty(&self) -> bool {
        self.keys.load().is_empty()
    }

    /// Waits until a token named a key that isn't known.
    pub async fn unknown_key_seen(&self) {
        self.wanted.notified().await;
    }
}

/// Room for tokens of the policy's issuer and audience; none is remembered yet.
pub(super) fn fresh(policy: &TokenPolicy) -> Arc<VerifiedTokens> {
    let verifier = Verifier::new(&policy.issuer, &policy.audience);
    Arc::new(VerifiedTokens::new(verifier, REMEMBERED))
}

/// Verifies the tokens that routes ask for.
pub struct TokenGuard {
    tokens: Arc<VerifiedTokens>,
    keys: Arc<KeyStore>,
    revocations: Arc<Revocations>,
}

impl TokenGuard {
    /// A guard that remembers what it has verified.
    pub fn new(tokens: Arc<VerifiedTokens>, keys: Arc<KeyStore>, revocations: Arc<Revocations>) -> Self {
        Self { tokens, keys, revocations }
    }
}

impl Guard for TokenGuard {
    fn name(&self) -> &'static str {
        NAME
    }

    /// 401 where a token is needed and no valid one is there, or where an optional one is not valid; 403 where its
    /// role isn't one of the route's, or a claim isn't as the route asks; 400 where the request says in several ways who it
    /// is, or in its URL, which ends up in logs and histories. A verified token's claims are left in the findings.
    fn check(&self, request: &RequestView<'_>, matched: &Matched<'_>, findings: &mut Findings) -> Verdict {
        let route = matched.route();
        if route.token == TokenRule::None {
            return Verdict::Skipped;
        }
        if request.has_parameter("access_token") {
            return deny(NAME, Denial::IN_URL);
        }
        let token = match request.bearer() {
            Bearer::Absent if route.token == TokenRule::Optional => return Verdict::Skipped,
            Bearer::Absent | Bearer::OtherScheme => return deny(NAME, Denial::MISSING),
            Bearer::Repeated => return deny(NAME, Denial::REPEATED),
            Bearer::Malformed => return deny(NAME, Denial::UNREADABLE),
            Bearer::Token(token) => token,
        };
        let keys = self.keys.keys.load();
        if keys.is_empty() {
            // Nobody can be recognised yet; that is our trouble, not the client's.
            return Verdict::refuse(NAME, Problem::unavailable());
        }
        match self.tokens.verify(&keys, &self.revocations, token) {
            Ok(verified) if !route.admits(&verified) => deny(NAME, Denial::WRONG_ROLE),
            Ok(verified) => {
                findings.claims = Some(verified);
                Verdict::Continue
            }
            Err(error) => {
                if matches!(error, TokenError::UnknownKey { .. }) {
                    self.keys.wanted.notify_one();
                }
                deny(NAME, Denial::from(&error))
            }
        }
    }

    fn looks_at(&self, request: &RequestView<'_>, matched: &Matched<'_>) -> String {
        let sent = match request.bearer() {
            _ if request.has_parameter("access_token") => "one in the URL",
            Bearer::Absent => "none sent",
            Bearer::Repeated => "several sent",
            Bearer::OtherScheme => "none sent, but another scheme's credentials",
            Bearer::Malformed => "a malformed one sent",
            Bearer::Token(_) => "one sent",
        };
        format!("{}, {sent}", matched.route().token_words())
    }
}

/// The answer to a request that brings no token, or none that will do.
pub(super) fn deny(guard: &'static str, denial: Denial) -> Verdict {
    let Denial { problem, status, detail, challenge } = denial;
    let status = StatusCode::from_u16(status).expect("a denial's status is one");
    let challenge = challenge.map(|value| (header::WWW_AUTHENTICATE, HeaderValue::from_static(value)));
    Verdict::refuse_with(guard, Problem::new(problem, status, detail), challenge.into_iter().collect())
}
