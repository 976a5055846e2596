//! What a test found, for people.

use std::fmt::Write as _;
use std::path::Path;

use super::Tested;
use crate::authoring::{Broken, Examined, Properties};
use crate::cli::text::{Columns, Paint, count, counted};

/// So many lines show what is wrong with a case; more would bury it.
const SHOWN_LINES: usize = 20;

pub(super) fn told(tested: &Tested, folder: &Path, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.strong(&tested.module));
    if !tested.cases.is_empty() {
        text.push_str(&overview(tested, folder, paint));
    }
    // Writing to a String cannot fail, here and below.
    for case in tested
        .cases
        .iter()
        .filter(|case| !case.holds || case.updated)
    {
        faults(&mut text, case, folder, paint);
    }
    if let Some(native) = &tested.native {
        if !native.passed {
            let _ = writeln!(
                text,
                "\n{}\n{}",
                paint.doubtful("the crate's own tests fail:"),
                native.said
            );
        }
        if tested.cases.iter().all(|case| case.native.is_none()) {
            let missing =
                "the crate's own tests run no case: call tidemill_sdk::testing::check_cases in one";
            let _ = writeln!(text, "\n{}", paint.doubtful(missing));
        }
    }
    if let Some(properties) = &tested.properties {
        self::properties(&mut text, properties, paint);
    }
    if let Some(added) = &tested.added {
        let _ = writeln!(text, "\nadded {}", shown(added, folder));
    }
    text
}

fn shown(file: &Path, folder: &Path) -> String {
    file.strip_prefix(folder)
        .unwrap_or(file)
        .display()
        .to_string()
}

fn overview(tested: &Tested, folder: &Path, paint: Paint) -> String {
    let mut columns = Columns::new(&["case", ">rows", ">fuel", ">fuel/row", "native", "sandbox"]);
    for case in &tested.cases {
        let fuel = case.fuel.map_or("-".into(), count);
        // Without rows there is nothing to divide by.
        let per_row = case.fuel.and_then(|fuel| fuel.checked_div(case.rows_in));
        columns.row([
            shown(&case.file, folder),
            count(case.rows_in),
            fuel,
            per_row.map_or("-".into(), count),
            match &case.native {
                None => "not run".into(),
                Some(lines) if lines.is_empty() => "the same".into(),
                Some(_) => "differs".into(),
            },
            match (case.updated, case.difference.is_empty(), &case.fuel_fault) {
                (true, ..) => "written anew".into(),
                (_, true, None) => "holds".into(),
                (_, true, Some(_)) => "costs more".into(),
                (_, false, _) => "differs".into(),
            },
        ]);
    }
    columns.render(paint)
}

fn faults(text: &mut String, case: &Examined, folder: &Path, paint: Paint) {
    let place = shown(&case.file, folder);
    let _ = writeln!(text, "\n{}: {}", paint.strong(&place), case.title);
    if case.updated {
        let _ = writeln!(text, "  written anew; this was otherwise:");
    }
    lines(text, &case.difference);
    if let Some(fault) = &case.fuel_fault {
        let _ = writeln!(text, "  {fault}");
    }
    if let Some(native) = case.native.as_ref().filter(|lines| !lines.is_empty()) {
        let _ = writeln!(
            text,
            "  natively (expected) it gives something else than in the sandbox (came):"
        );
        lines(text, native);
    }
}

fn lines(text: &mut String, lines: &[String]) {
    for line in lines.iter().take(SHOWN_LINES) {
        let _ = writeln!(text, "  {line}");
    }
    if lines.len() > SHOWN_LINES {
        let _ = writeln!(text, "  and {} more", lines.len() - SHOWN_LINES);
    }
}

fn properties(text: &mut String, properties: &Properties, paint: Paint) {
    for broken in &properties.broken {
        self::broken(text, broken, paint);
    }
    let tried = format!(
        "{} and {} (seed {})",
        counted(properties.cases as u64, "case", "cases"),
        counted(
            properties.generated as u64,
            "generated input",
            "generated inputs"
        ),
        properties.seed
    );
    let held = match properties.broken.len() {
        0 => "every property holds".to_owned(),
        1 => "one property does not hold".to_owned(),
        several => format!("{several} properties do not hold"),
    };
    let _ = write!(text, "\n{held}, tried on {tried}");
    let _ = match properties.gave_up {
        0 => writeln!(text),
        inputs => writeln!(
            text,
            "; on {inputs} of them the module gave up with a message"
        ),
    };
}

fn broken(text: &mut String, broken: &Broken, paint: Paint) {
    let _ = writeln!(text, "\n{}", paint.doubtful(&broken.property));
    lines(text, &broken.found);
    let _ = writeln!(
        text,
        "  the smallest input found, from {}:",
        broken.first_found_on
    );
    for line in broken.smallest.iter().take(SHOWN_LINES) {
        let _ = writeln!(text, "    {line}");
    }
}
