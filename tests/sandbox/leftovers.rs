//! Nothing of one run is left in the next, and nothing of one module in another.

use anyhow::{Context as _, Result, ensure};
use tidemill::sandbox::{Module, Session};
use tidemill_tests::guests;

use super::case::{CONTEXT, limits, sandbox, story, things};
use tidemill_tests::puppet::{Puppet, inverted};

/// What a module writes all over its memory. In the source it stands in two parts, so that nobody else has it.
fn mark() -> String {
    ["soiled-by-", "another-run"].concat()
}

/// What rows say.
fn value() -> String {
    ["value-of-", "another-run"].concat()
}

fn load(puppet: &Puppet) -> Result<Module> {
    Ok(sandbox(limits())?.load(&guests::hostile()?, &puppet.parameters())?)
}

fn open(module: &Module) -> Result<Session> {
    Ok(module.open(CONTEXT)?)
}

/// How often each needle is found by a module that searches in `push`, where it is given `name`.
fn found(module: &Module, name: &str) -> Result<String> {
    let error = open(module)?.push(0, &things(&[1, 2, 3], name)).err();
    let told = story(&error.context("it fails with what it found")?);
    let (_, found) = told
        .split_once("gave up in push: found ")
        .context(told.clone())?;
    let (found, _) = found.split_once(" [searched]").context(told.clone())?;
    Ok(found.to_owned())
}

#[test]
fn what_a_run_leaves_in_memory_is_not_in_the_next_run_nor_in_another_module() -> Result<()> {
    let soil = format!("soil {}", inverted(&mark()));
    let search = |puppet: Puppet| puppet.searches("push", &[&mark(), &value()]);
    // It soils everything in every call but the last, and then sees that it did.
    let soiling = Puppet::default()
        .does("describe", &soil)
        .does("open", &soil);
    let soiler = load(&search(soiling.clone().does("push", &soil)))?;
    let own = found(&soiler, &value())?;
    let (marks, values) = own.split_once(", ").context("two needles")?;
    ensure!(
        marks.parse::<u32>()? > 100_000,
        "memory was not soiled: {own}"
    );
    ensure!(
        values.parse::<u32>()? >= 3,
        "its own rows are not in its memory: {own}"
    );

    // The same component, as another module that does not soil: nothing of it is there, however often.
    let searcher = load(&search(Puppet::default()))?;
    for _ in 0..3 {
        ensure!(found(&searcher, "another value")? == "0, 0");
        found(&soiler, &value())?;
    }
    // While the soiler is running, too.
    let mut running = open(&load(&soiling.does("push", &soil))?)?;
    running.push(0, &things(&[1, 2, 3], &value()))?;
    ensure!(found(&searcher, "another value")? == "0, 0");
    Ok(())
}

#[test]
fn every_session_is_a_fresh_instance() -> Result<()> {
    // `open` is the first call of an instance and `push` the second, whatever ran before: `describe` had its own.
    let module = load(&Puppet::default().does("push", "calls"))?;
    for _ in 0..3 {
        let error = open(&module)?.push(0, &things(&[1, 2, 3], "n")).err();
        let told = story(&error.context("it fails with its calls")?);
        ensure!(told.ends_with("gave up in push: 2 [calls]"), "{told}");
    }
    Ok(())
}
