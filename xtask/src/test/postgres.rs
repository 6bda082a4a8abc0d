//! The backend's tests on PostgreSQL: a server of their own in the target directory, stopped when they have run.

use std::process::Command;

use postgres_cluster::Cluster;

use crate::test::counts::Counts;
use crate::test::run_all;
use crate::workspace;

/// Tells the tests where the server is.
const SERVER: &str = "DAEMUN_TEST_POSTGRES";

/// Runs the commands with a server. Where it doesn't start, that is a failure.
pub(crate) fn run(mut commands: Vec<Command>) -> anyhow::Result<Counts> {
    let mut cluster = Cluster::create(&workspace::target_dir()?.join("postgres"))?;
    cluster.start()?;
    for command in &mut commands {
        command.env(SERVER, cluster.url("postgres"));
    }
    Ok(run_all(commands))
}
