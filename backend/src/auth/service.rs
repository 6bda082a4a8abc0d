//! Signing in, staying signed in, signing out.

use std::sync::Arc;
use std::time::Duration;

use access_token::Role;

use crate::clock::EpochMillis;
use crate::config::{Accounts, Config, Identity};
use crate::database::Db;
use crate::notifications::service::Notifications;
use crate::redis::{Redis, RedisError, keys};

use super::audit::{self, Event};
use super::current_user::CurrentUser;
use super::model::{Device, Me, TokenPair};
use super::oauth::{Departure, Flows, OauthError};
use super::providers::{self, IdTokenError, Providers, Verified};
use super::refresh_token::{RefreshToken, RefreshTokens};
use super::sessions::{Rotation, Session, Sessions};
use super::store::{self, Linked, User};
use super::tokens::AccessTokens;

/// A provider's answers are small documents.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(3);

/// A used id_token is remembered for longer than it would be accepted.
const USED_ID_TOKEN: Duration = providers::MAX_AGE.saturating_add(Duration::from_secs(120));

/// Sign-in and sessions. Cloning it is cheap.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    db: Db,
    redis: Redis,
    providers: Providers,
    flows: Flows,
    public_url: String,
    sessions: Sessions,
    access_tokens: AccessTokens,
    refresh_tokens: RefreshTokens,
    accounts: Accounts,
    notifications: Notifications,
}

/// Why somebody isn't signed in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The provider's word doesn't hold.
    #[error(transparent)]
    IdToken(#[from] IdTokenError),
    /// The browser's sign-in went wrong.
    #[error(transparent)]
    Oauth(#[from] OauthError),
    /// The id_token was accepted before.
    #[error("the id_token was used before")]
    IdTokenUsed,
    /// The refresh token isn't ours, or its session has ended.
    #[error("the refresh token is not valid")]
    InvalidRefreshToken,
    /// The refresh token was used before; its session has been ended.
    #[error("the refresh token was used before")]
    RefreshTokenReused,
    /// The identity is another user's.
    #[error("the identity is another user's")]
    IdentityTaken,
    /// There is no user of this id.
    #[error("there is no such user")]
    NoSuchUser,
    /// The token's user is gone.
    #[error("there is no such user any more")]
    UserGone,
    /// Sessions can't be had now.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// No token could be signed.
    #[error("signing: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

impl AuthError {
    /// Whether whoever asked could do nothing about it.
    pub(super) fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::Redis(_)
                | Self::Database(_)
                | Self::Signing(_)
                | Self::IdToken(IdTokenError::KeysUnreachable(_))
                | Self::Oauth(OauthError::Unreachable(_) | OauthError::Redis(_))
        )
    }
}

impl Auth {
    /// Wires sign-in.
    pub fn new(config: &Config, db: Db, redis: Redis, access_tokens: AccessTokens) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(PROVIDER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        audit::begin();
        Ok(Self(Arc::new(Inner {
            providers: Providers::new(&config.providers, &http),
            flows: Flows::new(&config.providers, &config.public_url, redis.clone(), http)?,
            public_url: config.public_url.clone(),
            sessions: Sessions::new(redis.clone(), config.tokens.refresh_idle),
            refresh_tokens: RefreshTokens::new(config.tokens.refresh_secret()),
            accounts: config.accounts.clone(),
            notifications: Notifications::new(redis.clone()),
            db,
            redis,
            access_tokens,
        })))
    }

    /// Who vouches for users.
    pub(super) fn providers(&self) -> &Providers {
        &self.0.providers
    }

    /// The JWK Set document of the keys that access tokens are signed with.
    pub(super) fn jwks(&self) -> String {
        self.0.access_tokens.jwks()
    }

    /// Begins a session for the user whom the provider's token proves. The token is accepted once.
    pub async fn sign_in(
        &self,
        provider: &str,
        id_token: &str,
        nonce: &str,
        client: &str,
    ) -> Result<TokenPair, AuthError> {
        Event::SignIn.count(self.begin_session(provider, id_token, nonce, client).await)
    }

    async fn begin_session(
        &self,
        provider: &str,
        id_token: &str,
        nonce: &str,
        client: &str,
    ) -> Result<TokenPair, AuthError> {
        let verified = self.use_up(provider, id_token, nonce).await?;
        let known_at = EpochMillis::now();
        let role = if self.0.accounts.admins.contains(&verified.identity) { Role::Admin } else { Role::User };
        let user =
            store::find_or_insert_user(&self.0.db, &verified.identity, &verified.profile, role).await?;
        let first = self.0.sessions.begin(&user.id, client).await?;
        tracing::info!(user = user.id, session = first.session_id, provider, "signed in");
        // Signing in is worth more than its being counted.
        if let Err(error) = store::insert_sign_in(&self.0.db, &first.session_id, &user.id).await {
            tracing::warn!(%error, session = first.session_id, "a sign-in isn't counted");
        }
        self.token_pair(&user, &first, known_at)
    }

    /// Where people reach the site.
    pub(super) fn public_url(&self) -> &str {
        &self.0.public_url
    }

    /// How long a refresh token may lie unused.
    pub(super) fn refresh_idle(&self) -> Duration {
        self.0.sessions.idle()
    }

    /// Begins a browser's sign-in.
    pub(super) async fn depart(&self, provider: &str, return_to: &str) -> Result<Departure, AuthError> {
        Ok(self.0.flows.begin(provider, return_to).await?)
    }

    /// A browser has come back without a code: where it was to go.
    pub(super) async fn give_up(&self, handle: &str) -> Result<String, AuthError> {
        Ok(self.0.flows.give_up(handle).await?)
    }

    /// Begins a session for whom a browser comes back with; and where it is to go.
    pub(super) async fn arrive(
        &self,
        provider: &str,
        code: &str,
        state: &str,
        handle: &str,
        client: &str,
    ) -> Result<(TokenPair, String), AuthError> {
        let arrival = self.0.flows.finish(provider, code, state, handle).await.map_err(AuthError::from);
        // What went well so far is counted with the rest.
        let arrival = arrival.or_else(|error| Event::SignIn.count(Err(error)))?;
        let pair = self.sign_in(provider, &arrival.id_token, &arrival.nonce, client).await?;
        Ok((pair, arrival.return_to))
    }

    pub(super) async fn is_noted(&self, key: &str) -> Result<bool, AuthError> {
        Ok(self.0.redis.exists(key).await?)
    }

    pub(super) async fn note(&self, key: &str, life: Duration) -> Result<(), AuthError> {
        Ok(self.0.redis.set_if_absent(key, life).await.map(drop)?)
    }

    pub(super) async fn find_user_id(&self, identity: &Identity) -> Result<Option<String>, AuthError> {
        Ok(store::find_user_id(&self.0.db, identity).await?)
    }

    /// Takes a refresh token, and gives the next with a new access token.
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenPair, AuthError> {
        Event::Refresh.count(self.rotate(refresh_token).await)
    }

    async fn rotate(&self, refresh_token: &str) -> Result<TokenPair, AuthError> {
        let token = self.0.refresh_tokens.read(refresh_token).ok_or(AuthError::InvalidRefreshToken)?;
        // All that may fail comes first: a token that was used up for nothing would sign its user out. The user is
        // read each time, so that a changed role counts from the next refresh on.
        let (known_at, session_id) = (EpochMillis::now(), &token.session_id);
        let user_id =
            self.0.sessions.find_user_id(session_id).await?.ok_or(AuthError::InvalidRefreshToken)?;
        let Some(user) = store::find_user(&self.0.db, &user_id).await? else {
            self.0.sessions.end(session_id).await?;
            return Err(AuthError::UserGone);
        };
        match self.0.sessions.rotate(&token).await? {
            Rotation::Rotated { successor } => self.token_pair(&user, &successor, known_at),
            Rotation::Ended => Err(AuthError::InvalidRefreshToken),
            Rotation::Reused { client } => {
                audit::theft(&self.0.notifications, &user_id, session_id, &client).await;
                Err(AuthError::RefreshTokenReused)
            }
        }
    }

    /// Ends the session of a refresh token, whichever in its line it is.
    pub async fn sign_out_by_refresh_token(&self, refresh_token: &str) -> Result<(), AuthError> {
        match self.0.refresh_tokens.read(refresh_token) {
            Some(token) => self.sign_out(&token.session_id).await,
            None => Event::Logout.count(Err(AuthError::InvalidRefreshToken)),
        }
    }

    /// Ends a session.
    pub async fn sign_out(&self, session_id: &str) -> Result<(), AuthError> {
        Event::Logout.count(self.0.sessions.end(session_id).await.map_err(AuthError::from))
    }

    /// Ends all sessions of a user, on every device.
    pub async fn sign_out_everywhere(&self, user_id: &str) -> Result<(), AuthError> {
        tracing::info!(user = user_id, "signed out everywhere");
        Event::LogoutAll.count(self.0.sessions.end_all(user_id).await.map_err(AuthError::from))
    }

    /// A user's devices, the youngest first.
    pub async fn devices(&self, user: &CurrentUser) -> Result<Vec<Device>, AuthError> {
        let sessions = self.0.sessions.list(&user.id).await?;
        let device = |session: Session| Device {
            is_current: session.id == user.session_id,
            id: session.id,
            client: session.client,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
        };
        Ok(sessions.into_iter().map(device).collect())
    }

    /// Signs a user out on one device; whether there is such a one.
    pub async fn end_device(&self, user_id: &str, session_id: &str) -> Result<bool, AuthError> {
        let ended = self.0.sessions.end_of(user_id, session_id).await;
        Event::EndDevice.count(ended.map_err(AuthError::from))
    }

    /// Changes what a user may do, at once: the access tokens that say otherwise no longer count.
    pub async fn set_role(&self, user_id: &str, role: Role) -> Result<(), AuthError> {
        Event::ChangeRole.count(self.change_role(user_id, role).await)
    }

    async fn change_role(&self, user_id: &str, role: Role) -> Result<(), AuthError> {
        if !store::set_role(&self.0.db, user_id, role).await? {
            return Err(AuthError::NoSuchUser);
        }
        tracing::info!(user = user_id, %role, "role changed");
        Ok(self.0.sessions.outdate(user_id).await?)
    }

    /// Users in the order of their ids, after an id.
    pub async fn users(&self, after: &str, limit: i64) -> Result<Vec<Me>, AuthError> {
        Ok(store::find_users(&self.0.db, after, limit).await?.into_iter().map(Me::from).collect())
    }

    /// Gives a signed-in user another identity, which the provider's token proves. The token is accepted once.
    pub async fn link(
        &self,
        user_id: &str,
        provider: &str,
        id_token: &str,
        nonce: &str,
    ) -> Result<(), AuthError> {
        let linked = async {
            let verified = self.use_up(provider, id_token, nonce).await?;
            match store::link_identity(&self.0.db, &verified.identity, user_id).await? {
                Linked::Yes => Ok(()),
                Linked::OfAnother => Err(AuthError::IdentityTaken),
            }
        };
        Event::Link.count(linked.await)
    }

    /// Deletes an account: its sessions end, and who it was is forgotten.
    pub async fn delete_account(&self, user_id: &str) -> Result<(), AuthError> {
        Event::DeleteAccount.count(self.forget(user_id).await)
    }

    async fn forget(&self, user_id: &str) -> Result<(), AuthError> {
        // First what may fail with Redis away: a deleted user must not stay signed in.
        self.0.sessions.end_all(user_id).await?;
        store::delete_user(&self.0.db, user_id).await?;
        tracing::info!(user = user_id, "account deleted");
        // Whatever began in between.
        Ok(self.0.sessions.end_all(user_id).await?)
    }

    async fn use_up(&self, provider: &str, id_token: &str, nonce: &str) -> Result<Verified, AuthError> {
        let verified = self.0.providers.verify(provider, id_token, nonce).await?;
        let used = keys::used_id_token(&verified.fingerprint);
        match self.0.redis.set_if_absent(&used, USED_ID_TOKEN).await? {
            true => Ok(verified),
            false => Err(AuthError::IdTokenUsed),
        }
    }

    /// What is known about a user.
    pub async fn me(&self, user_id: &str) -> Result<Me, AuthError> {
        let user = store::find_user(&self.0.db, user_id).await?.ok_or(AuthError::UserGone)?;
        Ok(user.into())
    }

    fn token_pair(
        &self,
        user: &User,
        refresh_token: &RefreshToken,
        known_at: EpochMillis,
    ) -> Result<TokenPair, AuthError> {
        let session_id = &refresh_token.session_id;
        Ok(TokenPair {
            access_token: self.0.access_tokens.issue(&user.id, session_id, user.role, known_at)?,
            token_type: "Bearer",
            expires_in: self.0.access_tokens.life().as_secs(),
            refresh_token: self.0.refresh_tokens.issue(refresh_token),
        })
    }
}
