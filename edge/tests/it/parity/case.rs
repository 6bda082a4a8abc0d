//! A case: one request, what the edge answers, and how nginx's answer differs if it does.

use std::borrow::Cow;

use edge::nginx::About;

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// TLS; the connection names no host, unless the case says one.
    Https,
    Plain,
    Admin,
}

/// A request, sent to the edge and to nginx. Everything of the answers, and of what reaches the backend, must agree:
/// status, problem, fields, body; method, target, fields and body there. A case says what doesn't, and by which name.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) port: Port,
    pub(crate) from: [u8; 4],
    /// The host that the TLS connection is made to.
    pub(crate) sni: Option<&'static str>,
    pub(crate) method: &'static str,
    pub(crate) host: &'static str,
    pub(crate) target: Cow<'static, str>,
    /// Lines; `{user}` and others of [`super::both::Tokens`] stand for tokens.
    pub(crate) fields: &'static str,
    pub(crate) body: &'static str,
    /// How often it is sent, one after the other; each gets the same answer.
    pub(crate) times: usize,
    /// The edge's verdict: the status and, behind it, `backend` or a problem's name; `0` where there is no answer.
    pub(crate) verdict: &'static str,
    pub(crate) unlike: Option<Unlike>,
}

/// How nginx's answer differs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unlike {
    pub(crate) about: About,
    /// nginx's verdict, where that is another; then nothing else of the answers is compared.
    pub(crate) verdict: Option<&'static str>,
    /// Parts of the answer that differ, each of them, and no others.
    pub(crate) parts: &'static [&'static str],
}

/// A request from 127.0.0.1 to `b.example`, a host that no route names.
pub(crate) const fn ask(method: &'static str, target: &'static str, verdict: &'static str) -> Case {
    Case {
        port: Port::Https,
        from: [127, 0, 0, 1],
        sni: None,
        method,
        host: "b.example",
        target: Cow::Borrowed(target),
        fields: "",
        body: "",
        times: 1,
        verdict,
        unlike: None,
    }
}

pub(crate) const fn get(target: &'static str, verdict: &'static str) -> Case {
    ask("GET", target, verdict)
}

/// Copies what is `Copy`: a `Case` can't be moved out of in a constant, since its target may own memory.
macro_rules! with {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) $case:ident => $change:expr) => {
        $(#[$doc])*
        pub(crate) const fn $name(self, $($argument: $kind),*) -> Self {
            let mut $case = self;
            $change;
            $case
        }
    };
}

impl Case {
    with!(at(port: Port) case => case.port = port);
    with!(
        /// From another address of loopback.
        from(last: u8) case => case.from[3] = last
    );
    with!(to(host: &'static str) case => case.host = host);
    with!(by(name: &'static str) case => case.sni = Some(name));
    with!(with(fields: &'static str) case => case.fields = fields);
    with!(sending(body: &'static str) case => case.body = body);
    with!(times(times: usize) case => case.times = times);
    with!(
        /// nginx's verdict is another, for this reason.
        nginx(about: About, verdict: &'static str) case =>
            case.unlike = Some(Unlike { about, verdict: Some(verdict), parts: &[] })
    );
    with!(
        /// These parts differ, for this reason.
        unlike(about: About, parts: &'static [&'static str]) case =>
            case.unlike = Some(Unlike { about, verdict: None, parts })
    );
}

/// Cases of one kind: the policy's, in the order in which they are sent.
pub(crate) struct Area {
    pub(crate) name: &'static str,
    pub(crate) cases: Vec<Case>,
}
