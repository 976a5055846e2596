//! A case: a component, what it is told, within which limits, and what comes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use tidemill::error::Classify as _;
use tidemill::sandbox::{Compiler, Context, Limits, Module, Sandbox, SandboxError};
use tidemill_tests::{binary, guests};

use super::scripted::{Script, input_schema, output_schema};
use tidemill_tests::puppet::Puppet;

/// Something that means harm.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) component: Arc<Vec<u8>>,
    pub(crate) parameters: Vec<u8>,
    pub(crate) limits: Limits,
}

/// Limits that are reached quickly, and that a busy machine does not reach by being busy.
pub(crate) fn limits() -> Limits {
    const MIB: usize = 1 << 20;
    Limits {
        component_bytes: 4 * MIB,
        parameters_bytes: MIB,
        compile_time: Duration::from_secs(30),
        compile_memory_bytes: 512 * MIB,
        memory_bytes: 64 * MIB,
        call_time: Duration::from_secs(20),
        step_bytes: 32 * MIB,
        output_rows: 100_000,
        output_bytes: 48 * MIB as u64,
        reject_bytes: 8 * MIB,
        remembered_keys: 50_000,
        log_lines: 10,
        ..Limits::default()
    }
}

/// Cases in the making.
pub(crate) struct Cases {
    hostile: Arc<Vec<u8>>,
    pub(crate) all: Vec<Case>,
}

impl Cases {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            hostile: Arc::new(guests::hostile()?),
            all: Vec::new(),
        })
    }

    /// A case of the compiled module.
    pub(crate) fn puppet(&mut self, name: &str, puppet: Puppet) {
        let component = self.hostile.clone();
        self.push(name, component, puppet.parameters());
    }

    /// A case of an assembled module. It has parameters, so that its allocator is called from the beginning.
    pub(crate) fn script(&mut self, name: &str, script: &Script) {
        self.push(name, Arc::new(script.component()), b"parameters".to_vec());
    }

    /// A case of bytes.
    pub(crate) fn bytes(&mut self, name: &str, component: Vec<u8>) {
        self.push(name, Arc::new(component), Vec::new());
    }

    fn push(&mut self, name: &str, component: Arc<Vec<u8>>, parameters: Vec<u8>) {
        self.all.push(Case {
            name: name.to_owned(),
            component,
            parameters,
            limits: limits(),
        });
    }

    /// The last case within other limits.
    pub(crate) fn within(&mut self, change: impl FnOnce(&mut Limits)) {
        if let Some(case) = self.all.last_mut() {
            change(&mut case.limits);
        }
    }

    /// The last case ends soon, for it would never.
    pub(crate) fn ends_soon(&mut self) {
        self.within(|limits| limits.call_time = Duration::from_millis(200));
    }
}

/// The folder of compiled code: what is compiled once need not be compiled in every run of the tests.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-hostile-modules")
}

/// A sandbox as the program has it, which compiles in another process.
pub(crate) fn sandbox(limits: Limits) -> Result<Sandbox> {
    let sandbox = Sandbox::new(limits, &cache()).context("the sandbox does not start")?;
    Ok(sandbox.compiled_by(Compiler::Program(binary::path()?)))
}

pub(crate) const CONTEXT: Context = Context {
    logical_time_micros: 1_700_000_000_000_000,
    seed: 21,
};

/// Rows of the input `thing`.
pub(crate) fn things(ids: &[i32], name: &str) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(ids.to_vec())),
        Arc::new(StringArray::from(vec![name; ids.len()])),
    ];
    RecordBatch::try_new(input_schema().into(), columns).expect("the columns are the schema's")
}

/// Rows of the output `dim_thing`.
pub(crate) fn made(ids: &[i32]) -> RecordBatch {
    let columns = things(ids, "n").columns().to_vec();
    RecordBatch::try_new(output_schema().into(), columns).expect("the columns are the schema's")
}

/// Keys of either.
pub(crate) fn keys(ids: &[i32]) -> RecordBatch {
    made(ids)
        .project(&[0])
        .expect("the first column is the key")
}

/// What became of a case, as the snapshot has it.
pub(crate) fn outcome(case: &Case) -> Result<String> {
    let sandbox = sandbox(case.limits.clone())?;
    let module = sandbox.load(&case.component, &case.parameters);
    let digest = tidemill::sandbox::module_digest(&case.component, &case.parameters).short();
    let told = match module.and_then(|module| session(&module)) {
        Ok([rows, retractions, rejects]) => {
            format!("accepted: {rows} rows, {retractions} retractions, {rejects} rejects")
        }
        Err(error) => {
            let told = story(&error);
            anyhow::ensure!(told.contains(&digest), "{told} does not name {digest}");
            let hint = error.hint().context("an error without a hint")?;
            format!("{told}\n[{}] {hint}", error.kind())
        }
    };
    Ok(told.replace(&digest, "DIGEST"))
}

/// A whole session: rows, retractions and rejects that were made.
pub(crate) fn session(module: &Module) -> Result<[u64; 3], SandboxError> {
    let mut session = module.open(CONTEXT)?;
    let mut steps = vec![session.push(0, &things(&[1, 2, 3], "n"))?];
    steps.push(session.retract(0, &keys(&[4]))?);
    steps.push(session.end_of_input(0)?);
    steps.push(session.finish()?.0);
    let sum = |count: fn(&tidemill::sandbox::Step) -> u64| steps.iter().map(count).sum();
    Ok([
        sum(tidemill::sandbox::Step::rows_out),
        sum(tidemill::sandbox::Step::rows_retracted),
        sum(|step| step.rejects.len() as u64),
    ])
}

/// Everything that an error says, in one line.
pub(crate) fn story(error: &SandboxError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
