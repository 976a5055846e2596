//! What a function of AWS Lambda is told: from the JSON of an event to what is to be done. Pure functions; nothing here
//! waits, and nothing here knows the runtime interface or the pipeline.
//!
//! ```text
//! event ──▶ Trigger ──▶ Notice ── due      whatever is pending
//!                             ├── created  objects ──▶ Place ──▶ a manifest that this stage waits for
//!                             │                              └── something else: ignored with a word
//!                             └── nothing  a word
//! ```
//!
//! An event is a reason to look and never a description of the work: what is pending is told by the manifests and the
//! ledger alone. So an event may come twice, late, out of order or not at all, and a schedule makes up for it.

mod event;
mod place;

pub use event::{Asked, EventError, Happened, Notice, StoredObject, Trigger};
pub use place::{Place, PlaceError, Places};
