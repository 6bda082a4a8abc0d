//! HTTP/1.1 as little as a measuring client needs: one GET, one answer of a known length.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longer heads and bodies than this are not what is asked for here.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether the connection may be used again.
    pub(crate) keeps_alive: bool,
}

/// Asks for a path and reads the whole answer.
pub(crate) async fn get<S>(stream: &mut S, authority: &str, path: &str) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut received = Vec::with_capacity(2048);
    loop {
        if let Some(head) = parse_head(&received)? {
            let missing = (head.size_bytes + head.content_bytes).checked_sub(received.len());
            let mut rest = vec![0; missing.ok_or_else(|| broken("more than one answer"))?];
            stream.read_exact(&mut rest).await?;
            return Ok(head.answer);
        }
        if received.len() > MAX_ANSWER_BYTES {
            return Err(broken("an endless head"));
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    answer: Answer,
    size_bytes: usize,
    content_bytes: usize,
}

/// Reads an answer's head once it is all there.
fn parse_head(received: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&received[..end]).map_err(|_| broken("a head that is no text"))?;
    let (first, fields) = text.split_once("\r\n").unwrap_or((text, ""));
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let field = |name: &str| {
        let mut pairs = fields.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let length = field("content-length").and_then(|value| value.parse().ok());
    Ok(Some(Head {
        answer: Answer {
            status: status.ok_or_else(|| broken("a head without a status"))?,
            keeps_alive: !field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
        },
        size_bytes: end + 4,
        content_bytes: length
            .filter(|&bytes| bytes <= MAX_ANSWER_BYTES)
            .ok_or_else(|| broken("an answer without a length"))?,
    }))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_status_length_and_whether_the_connection_lives_on() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        let head = parse_head(text).expect("a head").expect("all of it");
        assert_eq!(head.answer, Answer { status: 200, keeps_alive: false });
        assert_eq!((head.size_bytes, head.content_bytes), (text.len() - 5, 5));
    }

    #[test]
    fn half_a_head_is_none_yet() {
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\ncontent-").expect("no fault"), None);
    }

    #[test]
    fn an_answer_without_a_length_is_an_error() {
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse_head(b"SSH-2.0\r\n\r\n").is_err());
    }
}
