//! Tabs that refresh at the same moment: all get the same successor.

use std::collections::HashSet;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;

use crate::api::{Ask, Connection};
use crate::sign_in::ground::Ground;

/// Refreshes of one token.
pub(super) const AT_ONCE: usize = 20;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Tabs {
    /// Refreshes that weren't answered with tokens.
    pub(super) failed: u64,
    /// Rounds in which tabs got different successors.
    pub(super) split: u64,
}

pub(super) async fn race(ground: &Ground, rounds: u32) -> anyhow::Result<Tabs> {
    let mut connections: Vec<Connection> = Vec::new();
    for number in 0..AT_ONCE {
        connections.push(ground.backends[number % 2].connect().await?);
    }
    let mut user = ground.sign_in("perf-tabs").await?;
    let mut tabs = Tabs::default();
    for _ in 0..rounds {
        let ask = Ask::post("/api/auth/refresh", json!({ "refresh_token": user.refresh_token }));
        let answers = join_all(connections.iter_mut().map(|connection| connection.answer(&ask))).await;
        let mut successors = HashSet::new();
        for answer in answers {
            match answer? {
                (StatusCode::OK, body) => {
                    successors.insert(body["refresh_token"].as_str().unwrap_or_default().to_owned());
                }
                _ => tabs.failed += 1,
            }
        }
        tabs.split += u64::from(successors.len() != 1);
        match successors.into_iter().next() {
            Some(successor) => user.refresh_token = successor,
            // The session is lost: another goes on.
            None => user = ground.sign_in("perf-tabs").await?,
        }
    }
    Ok(tabs)
}
