//! The edge as a process, in front of echo backends that record what reached them.

mod acme;
mod acme_edge;
mod acme_site;
mod asking;
mod backend;
mod balancing;
mod check;
mod connections;
mod cors;
mod deadlines;
mod edge_process;
mod floods;
mod framing;
mod guards;
mod http2;
mod http2_wire;
mod paths;
mod pebble;
mod policy;
mod raw_backend;
mod security_headers;
mod tidy;
mod tls;
mod tokens;
mod websocket;
mod wire;
