//! Who vouches for users, and who of them is more than one.

use std::collections::HashSet;

use serde::Deserialize;

use super::file::Faults;
use super::{Accounts, Identity, Mode, Provider};

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
    audiences: Vec<String>,
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
        faults.require(!table.audiences.is_empty(), &key, "audiences: expected at least one client id");
        faults.require(!table.issuer.is_empty(), &key, "issuer: expected the provider's `iss`");
        let url = reqwest::Url::parse(&table.jwks_url);
        let http = url.is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        faults.require(http, &key, "jwks_url: expected an http or https URL");
        let is_private = |url: &str| url.starts_with("https://");
        faults.require(
            mode == Mode::Development || (is_private(&table.issuer) && is_private(&table.jwks_url)),
            &key,
            "in production an issuer and its keys are reached by https:// only",
        );
    }
    let provider = |table: ProviderTable| Provider {
        id: table.id,
        name: table.name,
        issuer: table.issuer,
        jwks_url: table.jwks_url,
        audiences: table.audiences,
    };
    tables.into_iter().map(provider).collect()
}
