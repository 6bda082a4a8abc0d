//! Chat: rooms, history, and sockets on two backends.

mod client;
mod outages;
mod rooms;
mod sockets;
