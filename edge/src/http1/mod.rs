//! HTTP/1.1 as it is spoken to servers: the head of a request, the head of an answer, and where an answer's body ends. No
//! I/O: bytes in, bytes out, however they are cut.

mod answer;
mod body;
mod request;

pub use answer::{Answer, MOST_HEAD_BYTES, read_head};
pub use body::{Body, Length, Part};
pub use request::{LAST_CHUNK, Nominations, is_hop_by_hop, write_chunk, write_field, write_request_line};

/// Why what a server sends is no answer. The connection ends with it: nobody knows where the next answer would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Not a status line, or not a field, as RFC 9112 has them.
    #[error("the head of the answer is not well-formed")]
    Malformed,
    /// More bytes or lines than any answer of ours has.
    #[error("the head of the answer is too large")]
    TooLarge,
    /// `Content-Length` is not one number.
    #[error("Content-Length is not one number")]
    Length,
    /// `Transfer-Encoding` is something that nobody asked for, or in HTTP/1.0.
    #[error("Transfer-Encoding is not `chunked` alone")]
    Encoding,
    /// A chunk without its size, its end, or with too much beside it.
    #[error("the chunks of the answer are broken")]
    Chunk,
    /// The connection ended before the answer did.
    #[error("the answer broke off")]
    BrokenOff,
}

/// Why a request isn't forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A byte that would end the request line.
    #[error("the target has an illegal byte")]
    Target,
    /// `Connection` names what isn't its own, or more than anybody needs.
    #[error("the Connection field names what it must not")]
    Connection,
}
