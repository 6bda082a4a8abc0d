//! A server's answer is the same however it is cut, no field of its connection goes on, and its body is what a reading of the
//! whole says.

#![no_main]

use bytes::BytesMut;
use edge::http1::{Body, Flaw, LAST_CHUNK, Length, read_head, write_chunk};
use http::Method;
use libfuzzer_sys::fuzz_target;

/// Status and fields, body, and what is left behind it.
type Read = (String, Vec<u8>, Vec<u8>);

fuzz_target!(|data: &[u8]| {
    let [choice, cut, answer @ ..] = data else { return };
    let method = if choice % 4 == 0 { Method::HEAD } else { Method::GET };
    let whole = read(&method, [answer]);
    let pieces = read(&method, answer.chunks(usize::from(*cut).max(1)));
    assert_eq!(whole, pieces, "cuts make a difference");
    let Ok((_, body, _)) = whole else { return };
    // What was read goes on in chunks of our own, and is read back.
    let mut chunked = BytesMut::from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    body.chunks(usize::from(*cut).max(1)).for_each(|part| write_chunk(&mut chunked, part));
    chunked.extend_from_slice(LAST_CHUNK);
    let again = read(&Method::GET, [&chunked[..]]).expect("chunks of our own");
    assert_eq!((again.1, again.2), (body, Vec::new()));
});

fn read<'a>(method: &Method, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Read, Flaw> {
    let (mut buffer, mut answer, mut read) = (BytesMut::new(), None, Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if answer.is_none() {
            answer = read_head(&mut buffer, method)?.map(|answer| {
                for name in ["connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"] {
                    assert!(!answer.head.headers.contains_key(name), "{name} goes on");
                }
                let lengths = answer.head.headers.get_all("content-length").iter().count();
                assert!(lengths <= 1 && (lengths == 0 || answer.body != Length::Chunked));
                let said = format!("{} {:?}", answer.head.status, answer.head.headers);
                (said, Body::new(answer.body))
            });
        }
        let Some((_, body)) = &mut answer else { continue };
        while !body.is_over() {
            let Some(part) = body.take(&mut buffer)? else { break };
            read.extend_from_slice(&part.bytes);
        }
    }
    let (said, mut body) = answer.ok_or(Flaw::BrokenOff)?;
    if !body.is_over() {
        body.end()?;
    }
    Ok((said, read, buffer.to_vec()))
}
