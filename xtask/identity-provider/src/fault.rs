//! What a provider can do wrong, on demand: a sign-in must survive each.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longer would hold a test, or a developer, for nothing.
const LONGEST: Duration = Duration::from_secs(60);

/// One thing that goes wrong until another is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// All is well.
    #[default]
    None,
    /// Tokens and keys come late.
    Slow,
    /// Tokens and keys don't come: status 500.
    Error,
    /// The id_token answers another nonce.
    WrongNonce,
    /// The id_token ended an hour ago.
    Expired,
    /// The id_token is for another client.
    WrongAudience,
    /// The id_token is another issuer's.
    WrongIssuer,
    /// The id_token is signed with a key that isn't published.
    UnknownKey,
}

/// The order `PUT /faults` takes, and what `GET /faults` shows.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setting {
    pub(crate) fault: Fault,
    /// How late, where it is slow.
    #[serde(default = "default_milliseconds")]
    milliseconds: u64,
}

fn default_milliseconds() -> u64 {
    10_000
}

/// What goes wrong now.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Option<Setting>>);

impl Faults {
    pub(crate) fn set(&self, setting: Setting) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(setting);
    }

    pub(crate) fn get(&self) -> Setting {
        let setting = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        setting.unwrap_or(Setting { fault: Fault::None, milliseconds: default_milliseconds() })
    }

    /// Waits where it is slow; whether it fails.
    pub(crate) async fn meet(&self) -> bool {
        let Setting { fault, milliseconds } = self.get();
        if fault == Fault::Slow {
            tokio::time::sleep(Duration::from_millis(milliseconds).min(LONGEST)).await;
        }
        fault == Fault::Error
    }
}
