//! HTTP/2 (RFC 9113) and HPACK (RFC 7541) by hand, as no client library would send what an attacker sends.

pub(crate) mod frame;
pub(crate) mod hpack;
mod reader;

pub(crate) use reader::FrameReader;
