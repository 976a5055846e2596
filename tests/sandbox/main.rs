//! The sandbox against modules that mean harm: compiled ones, assembled ones, and bytes that are none.
//!
//! ```text
//! cases ──▶ Case = component + script ──▶ suite, in a process of its own ──▶ hostile.txt, and the most memory
//! ```
//!
//! `tests/guests/hostile` does what a script says; what no toolchain makes is assembled by the same scripts that the
//! sandbox's unit tests use. What concerns decoding alone (every prefix, ten thousand mutations) is tested there.

mod assembled;
mod bytes;
mod case;
mod descriptions;
mod leftovers;
mod running;
mod streams;
mod suite;

/// The scripts of the sandbox's unit tests.
#[allow(dead_code, reason = "the unit tests use more of it")]
#[path = "../../host/src/sandbox/tests/scripted.rs"]
mod scripted;
