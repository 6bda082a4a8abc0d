//! Signing in by a browser: the authorization code flow (RFC 6749, section 4.1) with PKCE (RFC 7636). The protocol's requests
//! and answers are the crate `oauth2`'s; what the id_token proves, `providers` says.
//!
//! What a sign-in must not forget lies in Redis for some minutes, under a name that only the browser's cookie holds. It is
//! taken out by whoever comes back first: a callback works once, and in the browser that began it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Response;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    StandardRevocableToken, StandardTokenResponse, TokenUrl,
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::{self, ClientAuthentication};
use crate::redis::{Redis, RedisError, keys};

/// How long a person may take at the provider.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// A token endpoint's answer is small.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Longer paths aren't ours.
const MAX_RETURN_BYTES: usize = 2048;

/// Why a browser isn't signed in.
#[derive(Debug, thiserror::Error)]
pub enum OauthError {
    /// There is no such provider, or this site has no secret there.
    #[error("there is no such provider to sign in at")]
    UnknownProvider,
    /// Nothing is known of the sign-in, or it is another browser's, or its time is over.
    #[error("the sign-in is not known here")]
    UnknownSignIn,
    /// The provider doesn't take the code.
    #[error("the provider refuses the code: {0}")]
    CodeRefused(String),
    /// The provider can't be talked to.
    #[error("the provider gave no tokens: {0}")]
    Unreachable(String),
    /// Sign-ins can't be kept now.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// A browser's way to a provider.
#[derive(Debug)]
pub(super) struct Departure {
    /// Where it is sent.
    pub(super) location: String,
    /// What its cookie holds.
    pub(super) handle: String,
}

/// A browser that has come back, with what the provider says of its user.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) id_token: String,
    pub(super) nonce: String,
    /// A path of this site.
    pub(super) return_to: String,
}

/// What is kept of a sign-in on its way.
#[derive(Serialize, Deserialize)]
struct Pending {
    provider: String,
    state: String,
    nonce: String,
    verifier: String,
    return_to: String,
}

/// The flows of all providers.
pub(super) struct Flows {
    by_provider: BTreeMap<String, Flow>,
    redis: Redis,
    http: reqwest::Client,
}

struct Flow {
    client: Client,
    scopes: Vec<Scope>,
}

type Client = oauth2::Client<
    BasicErrorResponse,
    StandardTokenResponse<IdToken, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// What OpenID Connect adds to the answer (Core, section 3.1.3.3).
#[derive(Debug, Serialize, Deserialize)]
struct IdToken {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdToken {}

impl Flows {
    /// The flows of those providers where this site has a secret; they send browsers back to `public_url`.
    pub(super) fn new(
        providers: &[config::Provider],
        public_url: &str,
        redis: Redis,
        http: reqwest::Client,
    ) -> anyhow::Result<Self> {
        let mut by_provider = BTreeMap::new();
        for provider in providers {
            let Some(secret) = &provider.client_secret else {
                tracing::info!(
                    provider = provider.id,
                    "without a client secret only apps can sign in with it"
                );
                continue;
            };
            let authentication = match provider.client_authentication {
                ClientAuthentication::Form => AuthType::RequestBody,
                ClientAuthentication::Basic => AuthType::BasicAuth,
            };
            let redirect = format!("{public_url}/api/auth/callback/{}", provider.id);
            let client = oauth2::Client::new(ClientId::new(provider.client_id.clone()))
                .set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
                .set_auth_type(authentication)
                .set_auth_uri(AuthUrl::new(provider.authorization_url.clone())?)
                .set_token_uri(TokenUrl::new(provider.token_url.clone())?)
                .set_redirect_uri(RedirectUrl::new(redirect)?);
            let scopes = provider.scopes.iter().cloned().map(Scope::new).collect();
            by_provider.insert(provider.id.clone(), Flow { client, scopes });
        }
        Ok(Self { by_provider, redis, http })
    }

    /// Begins a sign-in that ends at a path of this site.
    pub(super) async fn begin(&self, provider: &str, return_to: &str) -> Result<Departure, OauthError> {
        let flow = self.by_provider.get(provider).ok_or(OauthError::UnknownProvider)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let nonce = CsrfToken::new_random().into_secret();
        let (location, state) = flow
            .client
            .authorize_url(CsrfToken::new_random)
            .add_scopes(flow.scopes.iter().cloned())
            .add_extra_param("nonce", &nonce)
            .set_pkce_challenge(challenge)
            .url();
        let handle = CsrfToken::new_random().into_secret();
        let pending = Pending {
            provider: provider.to_owned(),
            state: state.into_secret(),
            nonce,
            verifier: verifier.into_secret(),
            return_to: own_path(return_to).to_owned(),
        };
        let mut command = ::redis::cmd("SET");
        command.arg(key(&handle)).arg(serde_json::to_vec(&pending).expect("plain values serialise"));
        command.arg("PX").arg(u64::try_from(PATIENCE.as_millis()).expect("minutes"));
        self.redis.query::<::redis::Value>(&command).await?;
        Ok(Departure { location: location.into(), handle })
    }

    /// Takes out what is known of the sign-in that a browser comes back with: where it is to go then.
    pub(super) async fn give_up(&self, handle: &str) -> Result<String, OauthError> {
        Ok(self.take(handle).await?.return_to)
    }

    /// Exchanges the code that a browser comes back with.
    pub(super) async fn finish(
        &self,
        provider: &str,
        code: &str,
        state: &str,
        handle: &str,
    ) -> Result<Arrival, OauthError> {
        let flow = self.by_provider.get(provider).ok_or(OauthError::UnknownProvider)?;
        let pending = self.take(handle).await?;
        // By their hashes: how long that takes says nothing of the state.
        let is_its_state = Sha256::digest(&pending.state) == Sha256::digest(state);
        if !is_its_state || pending.provider != provider {
            return Err(OauthError::UnknownSignIn);
        }
        let own = self.http.clone();
        let http = move |request| send(own.clone(), request);
        let answer = flow
            .client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier))
            .request_async(&http)
            .await
            .map_err(|error| match error {
                oauth2::RequestTokenError::ServerResponse(refusal) => {
                    OauthError::CodeRefused(refusal.error().to_string())
                }
                oauth2::RequestTokenError::Request(cause) => OauthError::Unreachable(cause.to_string()),
                other => OauthError::Unreachable(other.to_string()),
            })?;
        let id_token = answer.extra_fields().id_token.clone();
        let id_token = id_token.ok_or_else(|| OauthError::Unreachable("no id_token among them".into()))?;
        Ok(Arrival { id_token, nonce: pending.nonce, return_to: pending.return_to })
    }

    async fn take(&self, handle: &str) -> Result<Pending, OauthError> {
        let mut command = ::redis::cmd("GETDEL");
        command.arg(key(handle));
        let kept: Option<Vec<u8>> = self.redis.query(&command).await?;
        kept.and_then(|kept| serde_json::from_slice(&kept).ok()).ok_or(OauthError::UnknownSignIn)
    }
}

/// Under its hash: whoever reads Redis can't go on with another's sign-in.
fn key(handle: &str) -> String {
    let hash = Sha256::digest(handle);
    keys::sign_in(&hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// `text` if it is a path of this site, else `/`: nobody is sent elsewhere after signing in.
pub(super) fn own_path(text: &str) -> &str {
    let is_path = text.starts_with('/') && !text.starts_with("//");
    let is_plain = text.bytes().all(|byte| byte > b' ' && byte != b'\\' && byte < 0x7f);
    if is_path && is_plain && text.len() <= MAX_RETURN_BYTES { text } else { "/" }
}

/// Why a provider gave no answer.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Failed(#[from] reqwest::Error),
    #[error("the answer is too large")]
    TooLarge,
    #[error(transparent)]
    Illegal(#[from] http::Error),
    #[error("status {0}")]
    Status(u16),
}

/// Redirects aren't followed: with one a token endpoint would have the code sent elsewhere.
async fn send(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, SendError> {
    let (parts, body) = request.into_parts();
    let request = client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
    let mut answer = request.send().await?;
    if answer.status().is_server_error() {
        return Err(SendError::Status(answer.status().as_u16()));
    }
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        headers.extend(std::mem::take(answer.headers_mut()));
    }
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await? {
        if body.len() + part.len() > MAX_ANSWER_BYTES {
            return Err(SendError::TooLarge);
        }
        body.extend_from_slice(&part);
    }
    Ok(response.body(body)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_browser_comes_back_to_this_site_only() {
        for own in ["/", "/admin/", "/a?b=c#d", "/%5c"] {
            assert_eq!(own_path(own), own);
        }
        for other in
            ["", "//evil.kr", "https://evil.kr", "/\\evil.kr", "\\/evil.kr", "/\t/evil.kr", "/가", "a"]
        {
            assert_eq!(own_path(other), "/", "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_stays_on_this_site(text in "[/\\\\a-z:.\t ]{0,12}") {
            let base = reqwest::Url::parse("https://gate.example/api/auth/callback/google").expect("a URL");
            let target = base.join(own_path(&text)).expect("a URL");
            prop_assert_eq!(target.host_str(), Some("gate.example"));
            prop_assert_eq!(target.scheme(), "https");
        }
    }
}
