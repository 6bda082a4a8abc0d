//! The attacks: which there are, how many connections each opens, and what each of them sends.
//!
//! `crowd → drive → {observer, outcome} → script`, and the scripts: `slow`, `streams`, `blocks`, `frames`, `bodies`

mod blocks;
mod bodies;
mod crowd;
mod drive;
mod frames;
mod observer;
mod outcome;
mod script;
mod slow;
mod streams;

use clap::ValueEnum;

pub(crate) use crowd::attack;
pub(crate) use outcome::Summary;

use crate::floods::attack::script::{Protocol, Script};

/// A way to wear an edge down. Those that hold many connections come last: memory that an edge doesn't give back would
/// hide what the others take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// HTTP/2: requests that are cancelled at once (CVE-2023-44487).
    RapidReset,
    /// HTTP/2: a header block that never ends (VU#421644).
    Continuation,
    /// HTTP/2: SETTINGS that each want an acknowledgement (CVE-2019-9515).
    SettingsFlood,
    /// HTTP/2: PINGs that each want an answer (CVE-2019-9512).
    PingFlood,
    /// HTTP/2: DATA frames without data (CVE-2019-9518).
    EmptyData,
    /// HTTP/2: small header blocks that unpack to large ones, held open by a zero window.
    HpackBomb,
    /// HTTP/2: faults that make the edge cancel requests (`MadeYouReset`, CVE-2025-8671).
    MadeYouReset,
    /// HTTP/1.1: a chunk with an extension of 1 MB.
    ChunkExtensions,
    /// HTTP/1.1: 10,000 trailers.
    Trailers,
    /// HTTP/2: requests whose answers find no window.
    ZeroWindow,
    /// Many requests whose answers are read at one byte a second.
    SlowRead,
    /// Many requests with a body that comes at one byte a second.
    SlowBody,
    /// Many TLS connections on which nothing is ever asked.
    SilentTls,
    /// Many TCP connections on which TLS never begins.
    SilentTcp,
    /// Many TLS connections, each sending one byte of a header a second.
    SlowHeaders,
}

/// How an attack's connections are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Held at the same time.
    pub(crate) connections: usize,
    /// Sources that they share.
    pub(crate) addresses: usize,
    /// How often each is opened anew after the edge has closed it.
    pub(crate) reopenings: usize,
}

/// New connections a second, of all attacks.
pub(crate) const OPENED_A_SECOND: u32 = 1_000;

impl Attack {
    /// The name by which the command line knows it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// How its connections are opened.
    pub(crate) fn plan(self) -> Plan {
        let (connections, addresses, reopenings) = match self {
            Self::SlowHeaders => (8_000, 2_000, 0),
            Self::SilentTcp | Self::SilentTls => (4_000, 1_000, 0),
            Self::SlowBody | Self::SlowRead => (500, 500, 0),
            Self::ZeroWindow => (100, 100, 0),
            Self::RapidReset | Self::EmptyData | Self::MadeYouReset => (4, 4, 100),
            Self::Continuation | Self::SettingsFlood | Self::PingFlood => (4, 4, 100),
            Self::HpackBomb => (8, 8, 100),
            Self::ChunkExtensions | Self::Trailers => (20, 20, 10),
        };
        Plan { connections, addresses, reopenings }
    }

    /// What one of its connections does; `authority` is the name that requests are for.
    fn script(self, authority: &str) -> Script {
        match self {
            Self::SlowHeaders => slow::headers(authority),
            Self::SilentTcp => slow::silent(Protocol::Tcp),
            Self::SilentTls => slow::silent(Protocol::Http1),
            Self::SlowBody => slow::body(authority),
            Self::SlowRead => slow::read(authority),
            Self::ZeroWindow => streams::zero_window(authority),
            Self::RapidReset => streams::rapid_reset(authority),
            Self::MadeYouReset => streams::made_you_reset(authority),
            Self::EmptyData => streams::empty_data(authority),
            Self::Continuation => blocks::continuation(authority),
            Self::HpackBomb => blocks::hpack_bomb(authority),
            Self::SettingsFlood => frames::settings(),
            Self::PingFlood => frames::pings(),
            Self::ChunkExtensions => bodies::chunk_extensions(authority),
            Self::Trailers => bodies::trailers(authority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_is_bounded() {
        for attack in Attack::value_variants() {
            let plan = attack.plan();
            assert!(plan.connections <= 8_000 && plan.reopenings <= 100, "{attack:?}");
            assert!(plan.addresses >= 1 && plan.addresses <= plan.connections, "{attack:?}");
        }
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        assert_eq!(Attack::MadeYouReset.name(), "made-you-reset");
        assert_eq!(Attack::SilentTcp.name(), "silent-tcp");
    }
}
