//! Who we are to the CA: an account, registered once and kept.

use std::io;

use instant_acme::{Account, AccountCredentials, NewAccount};

use super::client::CaClient;
use super::order::OrderError;
use super::state::{self, StateFolder};
use crate::config::AcmePolicy;

/// The account at the configured CA; a new one where there is none yet. The caller holds the lock.
pub(super) async fn open(
    settings: &AcmePolicy,
    state: &StateFolder,
    ca: &CaClient,
) -> Result<Account, OrderError> {
    let file = state.account(&settings.directory);
    let builder = Account::builder_with_http(Box::new(ca.clone()));
    if let Some(text) = state::read(&file)? {
        let credentials: AccountCredentials =
            serde_json::from_str(&text).map_err(|error| OrderError::Account { file, error })?;
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder.create(&new, settings.directory.clone(), None).await?;
    state.write(&file, &serde_json::to_vec(&credentials).map_err(io::Error::from)?)?;
    tracing::info!(account = account.id(), "an account was registered with the CA");
    Ok(account)
}

/// Forgets an account that the CA doesn't know any more; the next attempt registers a new one.
pub(super) fn remove(state: &StateFolder, directory: &str) -> io::Result<()> {
    state::remove(&state.account(directory))
}
