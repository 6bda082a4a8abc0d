//! The names of what stock nginx does otherwise.

use std::fmt;

/// The enum, the list of all, and the words, each name told once.
macro_rules! names {
    ($($name:ident = $words:literal,)*) => {
        /// What a difference is about. The cases of the parity suite refer to it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum About {
            $(#[doc = $words] $name,)*
        }

        impl About {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As the page says it.
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }
        }
    };
}

names! {
    LimitsByUser = "limits by user",
    RateLimitFields = "RateLimit fields",
    SeveralLimits = "several limits at once",
    BudgetsComeBack = "how fast a budget comes back",
    LimitMemory = "memory of limits",
    Tokens = "tokens",
    TwoTokens = "two Authorization fields",
    ClimbingPaths = "paths that climb above the root",
    EncodedDetours = "detours with encoded delimiters",
    Framing = "framing",
    HopByHop = "fields of the connection",
    IdentityFields = "fields that say who somebody is",
    ForwardedFor = "X-Forwarded-For of a trusted proxy",
    Deadlines = "deadlines of bodies and answers",
    Connections = "connections",
    Health = "health",
    TryingAgain = "trying again",
    WebSockets = "WebSockets",
    Files = "files",
    FileMemory = "file memory",
    Server = "Server",
    RequestIds = "request ids",
    Problems = "problem documents",
    Compression = "compression",
    AdminPort = "admin port",
    PlainRedirect = "redirect from plain HTTP",
    Acme = "ACME",
    Certificates = "certificates and tickets",
    Logs = "logs",
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}
