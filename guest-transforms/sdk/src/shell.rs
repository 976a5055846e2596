//! The component around a session: it translates types and does nothing else.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Once;

use crate::bindings::exports::tidemill::transform::transform as contract;
use crate::bindings::tidemill::transform::types;
use crate::description::{Delivery, Description, Input, LoadMode, Role};
use crate::failure::Failure;
use crate::ipc::encode_schema;
use crate::log;
use crate::session::{Encoded, Session};
use crate::transform::{Context, Reject, Transform};

/// What `export!` knows of a guest.
pub trait Module: 'static {
    /// The name of its crate.
    const NAME: &'static str;
    /// The version of its crate.
    const VERSION: &'static str;

    /// Makes its transform.
    ///
    /// # Errors
    /// The parameters cannot be used.
    fn transform(parameters: &[u8]) -> Result<Box<dyn Transform>, Failure>;
}

/// The component of a module.
pub struct Component<M>(PhantomData<M>);

impl<M: Module> contract::Guest for Component<M> {
    type Session = ComponentSession<M>;

    #[inline]
    fn describe(parameters: Vec<u8>) -> Result<types::Description, types::Failure> {
        hear_panics();
        let transform = M::transform(&parameters)?;
        let name = transform.name().unwrap_or(M::NAME);
        Ok(description(name, M::VERSION, transform.describe()?)?)
    }
}

/// The resource `session` of a module.
pub struct ComponentSession<M> {
    session: RefCell<Session<Box<dyn Transform>>>,
    module: PhantomData<M>,
}

impl<M: Module> contract::GuestSession for ComponentSession<M> {
    #[inline]
    fn open(context: types::Context) -> Result<contract::Session, types::Failure> {
        hear_panics();
        let transform = M::transform(&context.parameters)?;
        let context = Context {
            logical_time: context.logical_time,
            seed: context.seed,
            parameters: context.parameters,
        };
        Ok(contract::Session::new(Self {
            session: RefCell::new(Session::open(transform, &context)?),
            module: PhantomData,
        }))
    }

    #[inline]
    fn push(&self, input: u32, chunk: Vec<u8>) -> Result<types::Step, types::Failure> {
        Ok(self.session.borrow_mut().push(input, chunk)?.into())
    }

    #[inline]
    fn retract(&self, input: u32, chunk: Vec<u8>) -> Result<types::Step, types::Failure> {
        Ok(self.session.borrow_mut().retract(input, chunk)?.into())
    }

    #[inline]
    fn end_of_input(&self, input: u32) -> Result<types::Step, types::Failure> {
        Ok(self.session.borrow_mut().end_of_input(input)?.into())
    }

    #[inline]
    fn finish(&self) -> Result<types::Step, types::Failure> {
        Ok(self.session.borrow_mut().finish()?.into())
    }
}

/// Sends the message of a panic to the host's log, on one line: after it the module traps, and a trap alone
/// says nothing.
fn hear_panics() {
    static HEARD: Once = Once::new();
    HEARD.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            log::error(&panic.to_string().replace('\n', " "))
        }));
    });
}

fn description(
    name: &str,
    version: &str,
    described: Description,
) -> Result<types::Description, Failure> {
    let inputs = described.inputs.iter().map(input);
    let output = described.output;
    Ok(types::Description {
        name: name.to_owned(),
        version: version.to_owned(),
        inputs: inputs.collect::<Result<_, _>>()?,
        output: types::Output {
            schema: encode_schema(&output.schema())?,
            table: output.table,
            primary_key: output.primary_key,
            mode: match output.mode {
                LoadMode::Upsert => types::LoadMode::Upsert,
                LoadMode::AppendVersions => types::LoadMode::AppendVersions,
                LoadMode::Overwrite => types::LoadMode::Overwrite,
                LoadMode::Scd2 => types::LoadMode::Scd2,
            },
        },
        properties: described.properties,
    })
}

fn input(input: &Input) -> Result<types::Input, Failure> {
    Ok(types::Input {
        table: input.table.clone(),
        schema: encode_schema(&input.schema())?,
        key: input.key.clone(),
        delivery: match input.delivery {
            Delivery::Changes => types::Delivery::Changes,
            Delivery::Current => types::Delivery::Current,
        },
        role: match input.role {
            Role::Lookup => types::Role::Lookup,
            Role::Streamed => types::Role::Streamed,
        },
    })
}

impl From<Encoded> for types::Step {
    #[inline]
    fn from(encoded: Encoded) -> Self {
        Self {
            counts: types::Counts {
                rows_in: encoded.rows_in,
                rows_out: encoded.rows_out,
                rows_retracted: encoded.rows_retracted,
                rows_rejected: encoded.rejects.len() as u64,
            },
            rows: encoded.rows,
            retractions: encoded.retractions,
            rejects: encoded.rejects.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Reject> for types::Reject {
    fn from(reject: Reject) -> Self {
        Self {
            input: reject.place.input,
            chunk: reject.place.chunk,
            row: reject.place.row,
            code: reject.reason.code.to_owned(),
            message: reject.reason.message,
        }
    }
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code,
            message: failure.message,
        }
    }
}
