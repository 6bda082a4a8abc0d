//! What the edge itself knows of WebSockets (RFC 6455): what asks for one, what agrees to it, how fast a client may send, and
//! where a goodbye fits in. What is said in one is the service's.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::time::{Instant, sleep};

use crate::request::only;

/// What may come at once is what may come in so long.
const BURST: Duration = Duration::from_secs(2);
/// RFC 6455, section 1.3
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A close frame: service restart, come again (sections 5.5.1 and 7.4; code 1012 of the registry).
pub const CLOSE: &[u8] = &[0x88, 2, 0x03, 0xf4];

/// The key of a request that asks for a WebSocket (section 4.2.1); `None` for any other request.
pub fn asked(version: Version, headers: &HeaderMap) -> Option<&HeaderValue> {
    let asks = version == Version::HTTP_11
        && only(headers, &header::UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && names_upgrade(headers);
    only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| asks && is_key(key))
}

/// Whether an answer agrees to it (section 4.1): anything else must not become a tunnel.
pub fn is_agreed(answer: &HeaderMap, key: &HeaderValue) -> bool {
    only(answer, &header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && names_upgrade(answer)
        && only(answer, &header::SEC_WEBSOCKET_ACCEPT)
            .is_some_and(|accept| accept.as_bytes() == accept_of(key).as_bytes())
}

/// Fields of a request or an answer that belong to one connection only (RFC 9110, section 7.6.1).
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    const NAMES: [&str; 8] = [
        "connection",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "http2-settings",
    ];
    NAMES.contains(&name.as_str())
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

/// Sixteen bytes.
fn is_key(key: &HeaderValue) -> bool {
    STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16)
}

fn accept_of(key: &HeaderValue) -> String {
    let text = [key.as_bytes(), GUID.as_bytes()].concat();
    // No secret rests on it (section 10.8).
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// How much a client may send right now.
#[derive(Debug)]
pub struct Budget {
    bytes_per_second: u64,
    left: i64,
    since: Instant,
}

impl Budget {
    /// So many bytes a second, and twice as much at once.
    pub fn new(bytes_per_second: u64) -> Self {
        let mut budget = Self { bytes_per_second, left: 0, since: Instant::now() };
        budget.left = budget.most();
        budget
    }

    fn most(&self) -> i64 {
        i64::try_from(self.bytes_per_second.saturating_mul(BURST.as_secs())).unwrap_or(i64::MAX)
    }

    /// So many came. The last ones may have been more than there were left: the next ones wait the longer.
    pub fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub_unsigned(bytes as u64);
    }

    /// Waits until something may come.
    pub async fn ready(&mut self) {
        loop {
            let now = Instant::now();
            let passed = (now - self.since).as_millis().min(BURST.as_millis()) as u64;
            if passed > 0 {
                let earned = self.bytes_per_second.saturating_mul(passed) / 1000;
                self.left = self.left.saturating_add_unsigned(earned).min(self.most());
                self.since = now;
            }
            if self.left > 0 {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Where in what the service says one frame ends and none has begun (RFC 6455, section 5.2); there a frame of ours may
/// stand.
#[derive(Debug, Default)]
pub struct FrameBoundary {
    at: At,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    /// Between two frames.
    #[default]
    Boundary,
    /// The second byte of a frame is next: it says how long the length is.
    Length,
    /// So many bytes of the length are missing; what came of it; a masked frame has four bytes more.
    MoreLength(u8, u64, u64),
    /// So many bytes of the frame are missing.
    Payload(u64),
}

impl FrameBoundary {
    /// Whether it is there.
    pub fn is_reached(&self) -> bool {
        matches!(self.at, At::Boundary)
    }

    /// These bytes were said.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            bytes = rest;
            self.at = match self.at {
                At::Boundary => At::Length,
                At::Length => {
                    let mask = if first & 0x80 == 0 { 0 } else { 4 };
                    match first & 0x7f {
                        126 => At::MoreLength(2, 0, mask),
                        127 => At::MoreLength(8, 0, mask),
                        length => payload(u64::from(length) + mask),
                    }
                }
                At::MoreLength(missing, length, mask) => {
                    let length = length << 8 | u64::from(*first);
                    match missing {
                        1 => payload(length.saturating_add(mask)),
                        _ => At::MoreLength(missing - 1, length, mask),
                    }
                }
                At::Payload(missing) => {
                    // The first byte is taken already.
                    let more = (missing - 1).min(rest.len() as u64);
                    bytes = &rest[more as usize..];
                    payload(missing - 1 - more)
                }
            };
        }
    }
}

fn payload(missing: u64) -> At {
    if missing == 0 { At::Boundary } else { At::Payload(missing) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let mut frame = vec![0x81];
        match length {
            0..126 => frame.push(length as u8),
            126..65_536 => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![b'\n'; length]);
        frame
    }

    proptest! {
        #[test]
        fn a_boundary_is_where_a_frame_ends_and_nowhere_else(
            lengths in prop::collection::vec(prop_oneof![0usize..300, 65_500usize..65_600], 1..6),
            step in 1usize..5000,
        ) {
            let mut said = Vec::new();
            let mut ends = Vec::new();
            for length in lengths {
                said.extend(frame(length));
                ends.push(said.len());
            }
            let mut boundary = FrameBoundary::default();
            let mut come = 0;
            for part in said.chunks(step) {
                boundary.pass(part);
                come += part.len();
                prop_assert_eq!(boundary.is_reached(), ends.contains(&come), "after {} bytes", come);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_sends_as_much_as_it_may_and_no_more() {
        let mut budget = Budget::new(1000);
        let mut sent = 0;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            budget.ready().await;
            budget.spend(300);
            sent += 300;
        }
        // Two seconds' worth at once, and then a second's in each second.
        assert!((61_000..=62_500).contains(&sent), "{sent}");
    }

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        list.iter().map(field).collect()
    }

    /// RFC 6455, section 1.3
    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const ACCEPT: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    #[test]
    fn only_a_whole_handshake_asks_for_a_socket() {
        let (upgrade, connection) = (("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade"));
        let asks = |version, list: &[_]| asked(version, &fields(list)).is_some();
        assert!(asks(Version::HTTP_11, &[upgrade, connection, KEY]));
        assert!(!asks(Version::HTTP_10, &[upgrade, connection, KEY]));
        assert!(!asks(Version::HTTP_2, &[upgrade, connection, KEY]));
        assert!(!asks(Version::HTTP_11, &[("upgrade", "x"), connection, KEY]));
        assert!(!asks(Version::HTTP_11, &[upgrade, ("connection", "close"), KEY]));
        assert!(!asks(Version::HTTP_11, &[upgrade, connection]));
        assert!(!asks(Version::HTTP_11, &[upgrade, connection, ("sec-websocket-key", "short")]));
        assert!(!asks(Version::HTTP_11, &[upgrade, connection, KEY, KEY]));
    }

    #[test]
    fn only_the_answer_to_this_key_agrees() {
        let (upgrade, connection) = (("upgrade", "websocket"), ("connection", "upgrade"));
        let key = HeaderValue::from_static(KEY.1);
        assert!(is_agreed(&fields(&[upgrade, connection, ACCEPT]), &key));
        assert!(!is_agreed(&fields(&[upgrade, connection]), &key));
        assert!(!is_agreed(&fields(&[connection, ACCEPT]), &key));
        assert!(!is_agreed(&fields(&[upgrade, ACCEPT]), &key));
        let other = HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA==");
        assert!(!is_agreed(&fields(&[upgrade, connection, ACCEPT]), &other));
    }
}
