//! Which type becomes which: every type of the sources, through Parquet and a module into both warehouses.
//!
//! ```text
//! source ──extract──▶ Parquet ──mirror──▶ Delta, PostgreSQL       each value compared with the source's own text
//! ```
//!
//! What is observed is written down in `host/TYPES.md`, and a page that says something else fails the test. To write it
//! anew: `TIDEMILL_UPDATE=1 cargo x test the_page_of`.

#![expect(
    clippy::indexing_slicing,
    reason = "rows and cases are indexed by numbers that count them, and JSON gives null where there is nothing"
)]

mod line;
mod page;
mod postgres;
mod sqlite;
mod tables;
mod text;
