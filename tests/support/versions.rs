//! Versions of a module that differ in one thing.

use super::guests;
use anyhow::{Context, Result, ensure};

/// The component of a module with texts in it replaced by others as long, wherever they stand.
///
/// So there are versions of it that differ in one thing, without a compiler. The contract's own version, which
/// follows an `@`, is left alone.
///
/// # Errors
/// When there is no such module, or a text does not stand in it.
pub fn component(name: &str, replaced: &[(&str, &str)]) -> Result<Vec<u8>> {
    let guests = guests::all("totesys")?;
    let guest = guests.into_iter().find(|guest| guest.name == name);
    edited(guest.context("there is such a module")?.component, replaced)
}

/// The same of any component.
///
/// # Errors
/// When a text does not stand in it.
pub fn edited(mut bytes: Vec<u8>, replaced: &[(&str, &str)]) -> Result<Vec<u8>> {
    for (from, to) in replaced {
        ensure!(from.len() == to.len(), "{from} and {to} are not as long");
        let (next, found) = with(&bytes, from, to);
        ensure!(found > 0, "{from} does not stand in the component");
        bytes = next;
    }
    Ok(bytes)
}

/// The bytes with `to` in place of `from`, and in how many places.
fn with(bytes: &[u8], from: &str, to: &str) -> (Vec<u8>, usize) {
    let (mut made, mut found) = (Vec::with_capacity(bytes.len()), 0);
    let (mut rest, mut before) = (bytes, 0);
    while let Some((byte, tail)) = rest.split_first() {
        match rest.strip_prefix(from.as_bytes()) {
            Some(after) if before != b'@' => {
                made.extend_from_slice(to.as_bytes());
                (rest, found) = (after, found + 1);
            }
            _ => {
                made.push(*byte);
                rest = tail;
            }
        }
        before = *byte;
    }
    (made, found)
}
