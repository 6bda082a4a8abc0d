//! The identity provider as its users see it: through HTTP, and as a command.

mod code_flow;
mod command;
mod google;
