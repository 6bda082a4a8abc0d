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

/// What the development's identity provider knows this site by, and everybody else too.
const DEVELOPMENT: [&str; 3] =
    ["daemun-development", "daemun-development-secret", "daemun-development-admin-key"];

/// The development's identity provider vouches for whoever asks: before strangers nobody may name it, not even by mistake.
fn production(table: &ProviderTable, key: &str, faults: &mut Faults) {
    let urls = [&table.issuer, &table.jwks_url, &table.authorization_url, &table.token_url];
    faults.require(
        urls.iter().all(|url| url.starts_with("https://")),
        key,
        "in production an issuer and its keys are reached by https:// only",
    );
    faults.require(
        urls.iter().all(|url| is_elsewhere(url)),
        key,
        "in production no provider is this machine: the development's vouches for anybody",
    );
    let secrets = [&table.client_secret, &table.webhook_key].map(|secret| secret.expose_secret());
    let names = table.audiences.iter().chain([&table.client_id]).map(String::as_str);
    faults.require(
        !names.chain(secrets).any(|known| DEVELOPMENT.contains(&known)),
        key,
        "client id or secret is the development's, which everybody knows",
    );
}

/// Whether a URL leads to another machine, by a name or address that isn't this one's.
fn is_elsewhere(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return true };
    match url.host() {
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            !(name == "localhost" || name.ends_with(".localhost") || name == "identity-provider")
        }
        Some(url::Host::Ipv4(address)) => !(address.is_loopback() || address.is_unspecified()),
        Some(url::Host::Ipv6(address)) => {
            let mapped = address.to_ipv4_mapped();
            !(address.is_loopback() || address.is_unspecified() || mapped.is_some_and(|a| a.is_loopback()))
        }
        None => false,
    }
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
        if mode == Mode::Production {
            production(table, &key, faults);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_developments_credentials_are_those_of_its_identity_provider() {
        use identity_provider::{CLIENT_ID, CLIENT_SECRET, KAKAO_ADMIN_KEY};
        assert_eq!(DEVELOPMENT, [CLIENT_ID, CLIENT_SECRET, KAKAO_ADMIN_KEY]);
    }

    #[derive(Deserialize)]
    struct Shipped {
        providers: Vec<ProviderTable>,
    }

    /// What is wrong with the shipped providers, once `from` has become `to`.
    fn faults(mode: Mode, from: &str, to: &str) -> Vec<String> {
        let given = |name: &str| (name == "GOOGLE_CLIENT_ID").then(|| "client".to_owned());
        let shipped = include_str!("../../../config/backend.toml");
        let shipped = config_text::expand(shipped, given).expect("it has all");
        assert!(shipped.contains(from), "{from}");
        let shipped: Shipped = toml::from_str(&shipped.replace(from, to)).expect("the same form");
        let mut faults = Faults::default();
        providers(shipped.providers, mode, &mut faults);
        faults.0
    }

    #[test]
    fn in_production_the_developments_identity_provider_is_refused_however_it_is_named() {
        for (from, to, fault) in [
            ("https://oauth2.googleapis.com/token", "https://localhost:9000/google/token", "this machine"),
            ("\"https://accounts.google.com\"", "\"https://127.0.0.1:9000/google\"", "this machine"),
            ("\"client\"", "\"daemun-development\"", "the development's"),
            ("audiences = [\"\"]", "audiences = [\"daemun-development\"]", "the development's"),
            ("client_secret = \"\"", "client_secret = \"daemun-development-secret\"", "the development's"),
            ("webhook_key = \"\"", "webhook_key = \"daemun-development-admin-key\"", "the development's"),
        ] {
            let found = faults(Mode::Production, from, to);
            assert!(!found.is_empty() && found.iter().all(|found| found.contains(fault)), "{to}: {found:?}");
            assert_eq!(faults(Mode::Development, from, to), Vec::<String>::new());
        }
        assert_eq!(faults(Mode::Production, "client", "client"), Vec::<String>::new());
    }

    #[test]
    fn this_machine_is_known_by_all_its_names() {
        for own in [
            "https://localhost/x",
            "https://LOCALHOST.:9000",
            "https://a.localhost",
            "https://127.3.2.1",
            "https://0.0.0.0",
            "https://[::1]:9000/google",
            "https://[::ffff:127.0.0.1]",
            "https://identity-provider:9000",
        ] {
            assert!(!is_elsewhere(own), "{own}");
        }
        for other in ["https://accounts.google.com", "https://10.0.0.1", "https://localhost.example"] {
            assert!(is_elsewhere(other), "{other}");
        }
    }
}
