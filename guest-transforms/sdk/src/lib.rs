//! Writes tidemill modules.
//!
//! A module makes one table. It is a plain Rust type that takes and returns `RecordBatch`es: [`Table`], for a
//! table that is a list of columns with a rule each, or an own type that implements [`Transform`]. Natively it is
//! tested like any other type; [`export!`] makes a component of the same type.
//!
//! ```
//! use tidemill_sdk::{Input, Table, integer};
//!
//! tidemill_sdk::export!(dim_design);
//!
//! /// One row per design, as it is now.
//! pub fn dim_design() -> Table {
//!     let design = Input::changes("design").key(integer("design_id"));
//!
//!     Table::upsert("dim_design")
//!         .key("design_id", design.integer("design_id"))
//!         .required("design_name", design.text("design_name"))
//!         .optional("remark", design.text("remark"))
//! }
//! ```
//!
//! Here live: what a module says of itself (`description`), the trait (`transform`), the table as a list of
//! columns (`column`, `evaluation`, `gather`, `lookup`, `table`), the session from bytes to bytes (`ipc`,
//! `keys`, `session`), and the component's thin shell (`shell`, `bindings`, `allocator`), which exists on `wasm32`
//! only. Nothing here knows a table, a store or the host.

mod column;
mod description;
mod evaluation;
mod failure;
mod gather;
mod ipc;
mod keys;
mod lookup;
mod session;
mod table;
mod transform;

pub mod calendar;
pub mod log;

#[cfg(target_arch = "wasm32")]
mod allocator;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod shell;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
pub mod testing;

pub use column::{
    BigInteger, Boolean, Codes, Column, Date, Decimal, Integer, Joined, Text, Time, Timestamp,
    column,
};
pub use description::{
    ALIAS, Delivery, Description, Input, LoadMode, Output, RECORD_ID, Role, big_integer, boolean,
    date, decimal, integer, text, time, timestamp,
};
pub use evaluation::Refusals;
pub use failure::{Failure, Reason, quoted};
pub use lookup::Lookup;
pub use session::{Encoded, Session};
pub use table::Table;
pub use transform::{Arrival, Context, Place, Reject, Step, Transform};

/// The Arrow crates that a transform written by hand needs, in the version of the SDK.
pub mod arrow {
    pub use arrow_array as array;
    pub use arrow_buffer as buffer;
    pub use arrow_schema as schema;
}

/// Makes the component of a transform. Name and version of the module are those of the crate, unless
/// [`Transform::name`] gives another name.
///
/// Takes a function that makes the transform: `export!(dim_staff)` with `fn dim_staff() -> Table`, or, where the
/// transform depends on parameters, `export!(engine with parameters)` with
/// `fn engine(parameters: &[u8]) -> Result<Engine, Failure>`. Natively it does nothing.
#[macro_export]
macro_rules! export {
    ($transform:ident) => {
        $crate::export!(@module |_parameters| Ok($transform()));
    };
    ($transform:ident with parameters) => {
        $crate::export!(@module |parameters| $transform(parameters));
    };
    (@module |$parameters:ident| $transform:expr) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Exported;

            impl $crate::shell::Module for Exported {
                const NAME: &'static str = env!("CARGO_PKG_NAME");
                const VERSION: &'static str = env!("CARGO_PKG_VERSION");

                fn transform(
                    $parameters: &[u8],
                ) -> Result<Box<dyn $crate::Transform>, $crate::Failure> {
                    let made: Result<_, $crate::Failure> = $transform;
                    Ok(Box::new(made?))
                }
            }

            type Component = $crate::shell::Component<Exported>;
            $crate::bindings::export_module!(Component with_types_in $crate::bindings);
        };
    };
}
