//! The edge as a process, in front of echo backends that record what reached them.

mod acme;
mod acme_edge;
mod acme_site;
mod backend;
mod balancing;
mod connections;
mod deadlines;
mod edge_process;
mod floods;
mod forged_tokens;
mod framing;
mod guards;
mod http2;
mod http2_wire;
mod paths;
mod pebble;
mod raw_backend;
mod redis_process;
mod revocations;
mod signer;
mod tidy;
mod tls;
mod token_keys;
mod tokens;
mod websocket;
mod wire;
