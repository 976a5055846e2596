//! Bytes that are no module for this host, and modules that are expensive before they run.

use std::fmt::Write as _;
use std::time::Duration;

use wasm_encoder::{
    BlockType, CodeSection, Component, Function, FunctionSection, Instruction, MemArg,
    MemorySection, MemoryType, Module, RawSection, TypeSection, ValType,
};

use super::case::Cases;
use super::scripted::{Script, WIT};

/// Every interface of WASI 0.2, and some that came later.
const WASI: &[&str] = &[
    "wasi:cli/command@0.2.0",
    "wasi:cli/environment@0.2.0",
    "wasi:cli/exit@0.2.0",
    "wasi:cli/run@0.2.0",
    "wasi:cli/stderr@0.2.0",
    "wasi:cli/stdin@0.2.0",
    "wasi:cli/stdout@0.2.0",
    "wasi:cli/terminal-input@0.2.0",
    "wasi:cli/terminal-output@0.2.0",
    "wasi:cli/terminal-stderr@0.2.0",
    "wasi:cli/terminal-stdin@0.2.0",
    "wasi:cli/terminal-stdout@0.2.0",
    "wasi:clocks/monotonic-clock@0.2.0",
    "wasi:clocks/timezone@0.2.0",
    "wasi:clocks/wall-clock@0.2.0",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:filesystem/preopens@0.2.0",
    "wasi:filesystem/types@0.2.0",
    "wasi:http/incoming-handler@0.2.0",
    "wasi:http/outgoing-handler@0.2.0",
    "wasi:http/types@0.2.0",
    "wasi:io/error@0.2.0",
    "wasi:io/poll@0.2.0",
    "wasi:io/streams@0.2.0",
    "wasi:keyvalue/store@0.2.0-draft",
    "wasi:random/insecure-seed@0.2.0",
    "wasi:random/insecure@0.2.0",
    "wasi:random/random@0.2.0",
    "wasi:sockets/instance-network@0.2.0",
    "wasi:sockets/ip-name-lookup@0.2.0",
    "wasi:sockets/network@0.2.0",
    "wasi:sockets/tcp-create-socket@0.2.0",
    "wasi:sockets/tcp@0.2.0",
    "wasi:sockets/udp-create-socket@0.2.0",
    "wasi:sockets/udp@0.2.0",
    "wasi:clocks/system-clock@0.3.0",
    "wasi:random/random@0.3.0",
];

const TRANSFORM: &str = "tidemill:transform/transform@1.0.0";

pub(crate) fn add(cases: &mut Cases) {
    imports(cases);
    for (name, bytes) in [
        ("no bytes at all", b"".as_slice()),
        ("half a mark", b"\0as"),
        ("text", b"SELECT 1"),
        ("an ELF file", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
    ] {
        cases.bytes(name, bytes.to_vec());
    }
    cases.bytes("a core module", wat("(module (memory 1))"));
    cases.bytes("an empty component", wat("(component)"));
    let whole = Script::default().component();
    cases.bytes(
        "half a component",
        whole.split_at(whole.len() / 2).0.to_vec(),
    );
    cases.bytes(
        "a component with rubbish behind it",
        [&whole, b"rubbish".as_slice()].concat(),
    );
    for version in ["0.9.0", "1.1.0", "2.0.0", "1.0.0-rc.1"] {
        let script = Script {
            wit: WIT.replace("@1.0.0", &format!("@{version}")),
            ..Script::default()
        };
        cases.script(&format!("contract {version}"), &script);
    }
    let other_log = Script {
        wit: WIT.replace("message: string);", "message: list<u32>);"),
        ..Script::default()
    };
    cases.script("a log of another shape", &other_log);
    let export = format!("(component (instance) (export \"{TRANSFORM}\" (instance 0)))");
    cases.bytes("a transform that is empty", wat(&export));
    cases.bytes("a component of five megabytes", vec![0; 5 << 20]);
    cases.puppet("two megabytes of parameters", {
        tidemill_tests::puppet::Puppet::default().does_with("finish", "rows", &vec![0; 1 << 20])
    });
    compiling(cases);
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is valid")
}

/// Components that would be refused for nothing but what they import.
fn imports(cases: &mut Cases) {
    let importing = |name: &str, kind: &str| {
        wat(&format!(
            "(component (import \"{name}\" {kind}) (instance $none) (export \"{TRANSFORM}\" (instance $none)))"
        ))
    };
    for name in WASI {
        cases.bytes(&format!("imports {name}"), importing(name, "(instance)"));
    }
    for name in [
        "company:secrets/vault@1.0.0",
        "tidemill:transform/log@2.0.0",
        "tidemill:transform/logs@1.0.0",
        "tidemill:host/zone@1.0.0",
    ] {
        cases.bytes(&format!("imports {name}"), importing(name, "(instance)"));
    }
    cases.bytes(
        "imports a function",
        importing("fetch", "(func (param \"url\" string))"),
    );
    cases.bytes(
        "imports a core module",
        importing("driver", "(core module)"),
    );
    cases.bytes(
        "imports by digest",
        importing(
            "integrity=<sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=>",
            "(core module)",
        ),
    );
}

/// Components that the compiler takes long for.
fn compiling(cases: &mut Cases) {
    cases.bytes(
        "a kilobyte that doubles itself thirty times",
        wat(&doubling(30)),
    );
    cases.bytes("loops in loops", core(&loops(400, 1_000)));
    cases.within(|limits| limits.compile_time = Duration::from_secs(1));
    cases.bytes("a function of a megabyte", core(&long_function(1 << 20)));
    cases.within(|limits| limits.compile_memory_bytes = 64 << 20);
    cases.bytes("two hundred thousand functions", core(&functions(200_000)));
    cases.within(|limits| limits.compile_time = Duration::from_secs(1));
}

/// A component whose every part makes two instances of the part before it.
fn doubling(times: usize) -> String {
    let mut text =
        "(component (component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..=times {
        let below = level - 1;
        let twice =
            format!("(instance (instantiate $c{below})) (instance (instantiate $c{below}))");
        write!(text, "(component $c{level} {twice})").expect("a string takes everything");
    }
    write!(
        text,
        "(instance (instantiate $c{times})) (instance $none) (export \"{TRANSFORM}\" (instance $none)))"
    )
    .expect("a string takes everything");
    text
}

/// A component with this core module; it exports what is looked for before it is compiled.
fn core(module: &[u8]) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&RawSection {
        id: 1,
        data: module,
    });
    let mut bytes = component.finish();
    let shell = wat(&format!(
        "(component (instance) (export \"{TRANSFORM}\" (instance 0)))"
    ));
    // The sections of another component, without its mark and version.
    bytes.extend_from_slice(shell.split_at(8).1);
    bytes
}

/// A core module of functions that take a number and give nothing.
fn module(functions: impl Iterator<Item = Function>) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], []);
    let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
    for function in functions {
        declared.function(0);
        code.function(&function);
    }
    let mut memory = MemorySection::new();
    memory.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut module = Module::new();
    module
        .section(&types)
        .section(&declared)
        .section(&memory)
        .section(&code);
    module.finish()
}

fn functions(number: usize) -> Vec<u8> {
    module((0..number).map(|_| {
        let mut function = Function::new([]);
        function.instruction(&Instruction::LocalGet(0));
        function.instruction(&Instruction::Drop);
        function.instruction(&Instruction::End);
        function
    }))
}

fn long_function(bytes: usize) -> Vec<u8> {
    let mut function = Function::new([]);
    function.instruction(&Instruction::I32Const(1));
    while function.byte_len() < bytes {
        function.instruction(&Instruction::LocalGet(0));
        function.instruction(&Instruction::I32Add);
        function.instruction(&Instruction::I32Load(MemArg {
            offset: 8,
            align: 0,
            memory_index: 0,
        }));
    }
    function.instruction(&Instruction::Drop);
    function.instruction(&Instruction::End);
    module([function].into_iter())
}

/// Loops within each other that all change the same locals: what the compiler keeps is their product.
fn loops(depth: usize, locals: u32) -> Vec<u8> {
    let mut function = Function::new([(locals, ValType::I32)]);
    for _ in 0..depth {
        function.instruction(&Instruction::Loop(BlockType::Empty));
    }
    for local in 1..=locals {
        function.instruction(&Instruction::LocalGet(local));
        function.instruction(&Instruction::LocalGet(0));
        function.instruction(&Instruction::I32Add);
        function.instruction(&Instruction::LocalSet(local));
    }
    for _ in 0..depth {
        function.instruction(&Instruction::LocalGet(0));
        function.instruction(&Instruction::BrIf(0));
        function.instruction(&Instruction::End);
    }
    function.instruction(&Instruction::End);
    module([function].into_iter())
}
