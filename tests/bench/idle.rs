//! A run that finds nothing new: what a schedule of every minute costs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tidemill::demo::{Options, Simulation};
use tidemill_tests::postgres::Server;
use tidemill_tests::project::Project;

use super::stopwatch::shown;

const ROUNDS: usize = 7;

/// Prints how long the process lives, from its start to its end, for each pair of source and warehouse.
pub(crate) async fn measure() -> Result<()> {
    println!(
        "idle: totesys at its real size, eleven tables, time that passes, the best of {ROUNDS}"
    );
    let server = Server::start("");
    let postgres = server.fresh_database().await;
    let star = server.fresh_database().await;
    for (title, source, warehouse) in [
        ("SQLite to Delta", None, None),
        ("PostgreSQL to Delta", Some(&postgres), None),
        ("PostgreSQL to PostgreSQL", Some(&postgres), Some(&star)),
    ] {
        let project = Project::totesys(source.map(String::as_str), warehouse.map(String::as_str))?;
        generate(&project, source.map(String::as_str)).await?;
        let (first, said) = run(&project)?;
        ensure!(!said.is_empty(), "the first run of {title} says nothing");
        let mut idle = Duration::MAX;
        for _ in 0..ROUNDS {
            idle = idle.min(run(&project)?.0);
        }
        println!(
            "  {title:<36} {:>8} after a first run of {}",
            shown(idle),
            shown(first)
        );
    }
    Ok(())
}

/// Makes the totesys of a project, unless an earlier project has made it.
async fn generate(project: &Project, source: Option<&str>) -> Result<()> {
    let file = format!(
        "sqlite://{}",
        project.path().join("totesys.sqlite").display()
    );
    let url = source.unwrap_or(&file);
    if Simulation::resume(url, Options::default()).await.is_err() {
        drop(Simulation::create(url, Options::default(), &mut |_| {}).await?);
    }
    Ok(())
}

fn run(project: &Project) -> Result<(Duration, String)> {
    let started = Instant::now();
    let said = project.done(["run"])?;
    Ok((started.elapsed(), said))
}
