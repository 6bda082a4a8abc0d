//! Somebody who is signed in.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::api::{Ask, Connection};

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

impl User {
    /// Reads what a sign-in or a refresh answers.
    pub(crate) fn parse(answer: &Value) -> anyhow::Result<Self> {
        let field = |name: &str| answer[name].as_str().map(str::to_owned).context("no tokens");
        Ok(Self { access_token: field("access_token")?, refresh_token: field("refresh_token")? })
    }
}

/// Signs somebody in, as an app does.
pub(crate) async fn sign_in(
    api: &mut Connection,
    provider: &mut Connection,
    sub: &str,
) -> anyhow::Result<User> {
    let who = json!({"sub": sub, "name": sub, "nonce": "n"});
    let minted = provider.ask(&Ask::post("/google/mint", who)).await?;
    let login = json!({"provider": "google", "id_token": minted["id_token"], "nonce": "n"});
    User::parse(&api.ask(&Ask::post("/api/auth/login", login)).await.context(sub.to_owned())?)
}
