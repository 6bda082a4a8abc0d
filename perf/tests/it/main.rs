//! The measuring programs themselves, run as their users run them.

mod history;
