//! The edge as a process, in front of echo backends that record what reached them.

mod acme;
mod acme_site;
mod backend;
mod balancing;
mod edge_process;
mod guards;
mod paths;
mod pebble;
mod tidy;
mod tokens;
mod websocket;
