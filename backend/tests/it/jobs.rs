//! Jobs: each period once, whoever is there, and on from where a run stopped.

mod admin;
mod crashes;
mod purge_sessions;
mod rows;
mod runs;
mod statistics;
mod timers;

/// Says a figure that the full proof is made for; the runner shows it with `--no-capture`.
#[expect(clippy::print_stdout, reason = "figures are for whoever runs the proof")]
fn tell(figure: &str) {
    println!("{figure}");
}
