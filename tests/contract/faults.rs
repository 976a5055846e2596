//! Modules that are wrong are found, each by the property that it breaks, on the smallest rows that show it.

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tidemill::authoring::{Broken, Examination, Properties};
use tidemill::sandbox::Compiler;
use tidemill_tests::guests;

use super::{SEED, cache};

/// What is found of the module of the tests that is wrong as `mood` says.
fn tried(mood: &str) -> Result<Properties> {
    let folder: TempDir = tempfile::tempdir()?;
    let case = folder.path().join("empty.json");
    // Parameters come with a case. One without any rows breaks nothing by itself.
    let text = serde_json::json!({"format": 1, "context": {"parameters": mood}});
    std::fs::write(&case, text.to_string())?;
    let component = guests::of_tests("moody")?;
    let mut examination = Examination::new(component, cache(), Compiler::InProcess);
    Ok(examination.properties(&[case], SEED)?)
}

/// The one property that is broken.
fn broken(mood: &str) -> Result<Broken> {
    let mut tried = tried(mood)?;
    let broken = tried.broken.pop().context("nothing is found")?;
    ensure!(
        tried.broken.is_empty(),
        "{:#?} besides {broken:#?}",
        tried.broken
    );
    Ok(broken)
}

#[test]
fn an_honest_module_is_not_accused() -> Result<()> {
    let tried = tried("")?;
    assert_eq!(tried.broken, []);
    assert_eq!((tried.cases, tried.gave_up), (1, 0));
    Ok(())
}

#[test]
fn a_module_that_depends_on_chunks_is_found_with_two_rows() -> Result<()> {
    let broken = broken("chunks")?;
    assert_eq!(broken.property, "the size of chunks makes a difference");
    assert_eq!(broken.smallest.len(), 2, "{broken:#?}");
    assert!(
        broken
            .smallest
            .iter()
            .all(|row| row.contains("body null, author_id null")),
        "{broken:#?}"
    );
    assert_eq!(broken.found.len(), 2, "{broken:#?}");
    assert!(
        broken.found[1].ends_with("number: expected 2, came 1"),
        "{broken:#?}"
    );
    assert!(
        broken.case.contains("\"parameters\":\"chunks\""),
        "{}",
        broken.case
    );
    Ok(())
}

#[test]
fn a_module_that_depends_on_the_order_of_rows_is_found_with_two_rows() -> Result<()> {
    let broken = broken("order")?;
    assert_eq!(broken.property, "the order of rows makes a difference");
    assert_eq!(broken.smallest.len(), 2, "{broken:#?}");
    Ok(())
}

#[test]
fn a_module_that_panics_at_a_value_is_found_with_that_row_alone() -> Result<()> {
    let broken = broken("texts")?;
    assert_eq!(
        broken.property,
        "on rows that it declared it does not go to its end"
    );
    assert!(
        broken.found[0].starts_with("it trapped in push"),
        "{broken:#?}"
    );
    assert_eq!(broken.smallest.len(), 1, "{broken:#?}");
    assert!(
        broken.smallest[0].contains("body \"O'Keefe\", author_id null"),
        "{broken:#?}"
    );
    // A mood is not what it is called: giving up with a message is allowed.
    let patient = tried("patience")?;
    assert_eq!(patient.broken, []);
    assert!(patient.gave_up > 0);
    Ok(())
}

#[test]
fn a_module_that_gives_one_key_twice_is_found_with_two_rows() -> Result<()> {
    let broken = broken("keys")?;
    assert_eq!(
        broken.property,
        "on rows that it declared it does not go to its end"
    );
    assert!(
        broken.found[0].starts_with("it broke a rule in push")
            && broken.found[0].contains("came before"),
        "{broken:#?}"
    );
    assert_eq!(broken.smallest.len(), 2, "{broken:#?}");
    Ok(())
}

#[test]
fn a_module_that_needs_rows_in_a_lookup_is_found() -> Result<()> {
    let found: Vec<_> = tried("lookup")?
        .broken
        .into_iter()
        .map(|broken| broken.property)
        .collect();
    assert!(
        found.contains(&"without rows in a lookup it does not go to its end".to_owned()),
        "{found:?}"
    );
    Ok(())
}
