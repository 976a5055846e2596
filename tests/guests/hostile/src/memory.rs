//! Linear memory, looked at as a whole: by address, with no regard for what lies there.
//!
//! What is searched for comes with every bit inverted and is compared so, for otherwise it would always be found, in
//! the script. The byte at address 0 is left out: Rust cannot read it.

#![allow(unsafe_code)]

use std::arch::wasm32::{memory_grow, memory_size};
use std::hint::black_box;

const PAGE_BYTES: usize = 65_536;
/// How much is grown and soiled.
const SOILED_PAGES: usize = 128;

/// A part of memory that is there from the beginning.
static mut STATIC: [u8; 4096] = [0; 4096];

/// Bytes in memory.
fn bytes() -> usize {
    memory_size(0) * PAGE_BYTES
}

/// How often the bytes lie anywhere in memory, given their inversion.
pub(crate) fn count(inverted: &[u8]) -> usize {
    let last = bytes().saturating_sub(inverted.len());
    let lies_at = |at: usize| {
        let mut places = (at..).zip(inverted);
        // SAFETY: every address below `bytes()` can be read in WebAssembly, whatever Rust thinks lies there; the read
        // is volatile so that Rust does not think at all.
        places.all(|(place, byte)| unsafe { read(place) } == !byte)
    };
    (1..=last).filter(|at| lies_at(*at)).count()
}

unsafe fn read(place: usize) -> u8 {
    // SAFETY: see `count`.
    unsafe { std::ptr::with_exposed_provenance::<u8>(place).read_volatile() }
}

/// Writes the bytes all over new memory, and where static data lies.
pub(crate) fn soil(inverted: &[u8]) {
    let begin = memory_grow(0, SOILED_PAGES) * PAGE_BYTES;
    let soil = |from: usize, bytes: usize| {
        for (place, byte) in (from..from + bytes).zip(inverted.iter().cycle()) {
            // SAFETY: the pages are new and nobody else's, or they are `STATIC`, which nobody reads.
            unsafe {
                std::ptr::with_exposed_provenance_mut::<u8>(place).write_volatile(!byte);
            }
        }
    };
    soil(begin, SOILED_PAGES * PAGE_BYTES);
    soil((&raw mut STATIC).expose_provenance(), 4096);
}

/// Takes memory as fast as it comes.
pub(crate) fn hoard() -> ! {
    loop {
        black_box(memory_grow(0, 64));
    }
}

/// Takes memory bit by bit, and writes to all of it.
pub(crate) fn trickle() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1_000]));
    }
}
