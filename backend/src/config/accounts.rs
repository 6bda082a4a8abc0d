//! Who vouches for users, and who of them is more than one.

use std::collections::HashSet;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::file::Faults;
use super::{Accounts, ClientAuthentication, Events, Identity, Mode, Provider};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountsTable {
    admins: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderTable {
    id: String,
    name: String,
    issuer: String,
    jwks_url: String,
    authorization_url: String,
    token_url: String,
    client_id: String,
    #[serde(default)]
    client_secret: SecretString,
    client_authentication: ClientAuthentication,
    scopes: Vec<String>,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    events: Option<Events>,
    #[serde(default)]
    webhook_key: SecretString,
}

/// Names admins by identities of known providers.
pub(super) fn accounts(table: &AccountsTable, providers: &[ProviderTable], faults: &mut Faults) -> Accounts {
    let mut admins = HashSet::new();
    for text in &table.admins {
        match text.split_once(':') {
            Some((provider, sub)) if !sub.is_empty() && providers.iter().any(|p| p.id == provider) => {
                admins.insert(Identity { provider: provider.to_owned(), sub: sub.to_owned() });
            }
            _ => faults.add("accounts.admins", format!("`{text}` is not `provider:sub` of a known provider")),
        }
    }
    Accounts { admins }
}

/// Providers that can be asked.
pub(super) fn providers(tables: Vec<ProviderTable>, mode: Mode, faults: &mut Faults) -> Vec<Provider> {
    let mut ids = HashSet::new();
    for table in &tables {
        let key = format!("providers `{}`", table.id);
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        faults.require(
            !table.id.is_empty() && table.id.bytes().all(plain),
            &key,
            "expected an id of a-z, 0-9 and -",
        );
        faults.require(ids.insert(table.id.clone()), &key, "this id is given twice");
        faults.require(!table.issuer.is_empty(), &key, "issuer: expected the provider's `iss`");
        faults.require(
            table.scopes.iter().any(|scope| scope == "openid"),
            &key,
            "scopes: expected `openid` among them",
        );
        let urls = [
            ("jwks_url", &table.jwks_url),
            ("authorization_url", &table.authorization_url),
            ("token_url", &table.token_url),
        ];
        for (name, url) in urls {
            let url = reqwest::Url::parse(url);
            let http = url.is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            faults.require(http, &key, &format!("{name}: expected an http or https URL"));
        }
        let is_private = |url: &str| url.starts_with("https://");
        let all = urls.iter().all(|(_, url)| is_private(url)) && is_private(&table.issuer);
        faults.require(
            mode == Mode::Development || all,
            &key,
            "in production an issuer and its keys are reached by https:// only",
        );
    }
    let given = |secret: SecretString| Some(secret).filter(|secret| !secret.expose_secret().is_empty());
    let provider = |table: ProviderTable| Provider {
        id: table.id,
        name: table.name,
        issuer: table.issuer,
        jwks_url: table.jwks_url,
        authorization_url: table.authorization_url,
        token_url: table.token_url,
        client_secret: given(table.client_secret),
        client_authentication: table.client_authentication,
        scopes: table.scopes,
        audiences: std::iter::once(table.client_id.clone())
            .chain(table.audiences)
            .filter(|audience| !audience.is_empty())
            .collect(),
        client_id: table.client_id,
        events: table.events,
        webhook_key: given(table.webhook_key),
    };
    // Without a client id nobody can sign in there: this site isn't registered with it.
    tables.into_iter().filter(|table| !table.client_id.is_empty()).map(provider).collect()
}
