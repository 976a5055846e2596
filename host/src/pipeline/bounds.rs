//! What modules may use in the process of a project.

use crate::config::{LimitsPlan, Plan};
use crate::error::Result;
use crate::sandbox::{Compiler, Limits, Sandbox};

/// The sandbox. A program compiles in processes of its own; where there is none, a library does what it can.
pub(super) fn sandbox(plan: &Plan) -> Result<Sandbox> {
    let compiler = plan.program.clone();
    let compiler = compiler.map_or(Compiler::InProcess, Compiler::Program);
    let sandbox = Sandbox::new(limits(&plan.limits), &plan.cache)?;
    let sandbox = match plan.limits.process_bytes {
        // Half of the disk of a function that asks for no larger one.
        Some(_) => sandbox.keeping_at_most(256 << 20),
        None => sandbox,
    };
    let sandbox = sandbox.bundled(&plan.bundled_code);
    Ok(sandbox.compiled_by(compiler))
}

/// The sandbox's limits with what the project file says of them.
fn limits(plan: &LimitsPlan) -> Limits {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let wide = Limits::default();
    // A process that may use little compiles with half of it and holds an eighth of it at once.
    let part = |of: usize, share: u64| {
        let bytes = plan
            .process_bytes
            .map_or(usize::MAX, |bytes| size(bytes / share));
        of.min(bytes)
    };
    Limits {
        compile_memory_bytes: part(wide.compile_memory_bytes, 2),
        step_bytes: part(wide.step_bytes, 8),
        reject_bytes: part(wide.reject_bytes, 16),
        // Sixteen bytes each, where they are remembered one by one.
        remembered_keys: part(wide.remembered_keys, 8 * 16),
        memory_bytes: size(plan.memory_bytes),
        // A call may take a fifth of the whole, so that one limit is enough to say.
        call_time: plan.time.div_f64(5.0).max(wide.call_time),
        session_time: plan.time,
        output_rows: plan.output_rows,
        output_bytes: plan.output_bytes,
        log_lines: u32::try_from(plan.log_lines).unwrap_or(u32::MAX),
        log_bytes: size(plan.log_bytes),
        ..wide
    }
}
