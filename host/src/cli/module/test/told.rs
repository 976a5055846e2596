//! What a test found, for people.

use std::fmt::Write as _;
use std::path::Path;

use super::Tested;
use crate::authoring::{Broken, Examined, Native, Properties};
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
        self::native(&mut text, native, &tested.cases, paint);
    }
    if let Some(properties) = &tested.properties {
        self::properties(&mut text, properties, paint);
    }
    if let Some(added) = &tested.added {
        let _ = writeln!(text, "\nadded {}", shown(added, folder));
    }
    text
}

/// What is wrong with the crate's own tests.
fn native(text: &mut String, native: &Native, cases: &[Examined], paint: Paint) {
    let _ = match (native.passed, native.said.as_str()) {
        (true, _) if cases.iter().all(|case| case.native.is_none()) => {
            let missing =
                "the crate's own tests run no case: call tidemill_sdk::testing::check_cases in one";
            writeln!(text, "\n{}", paint.doubtful(missing))
        }
        (true, _) => Ok(()),
        (false, "") => writeln!(
            text,
            "\n{}",
            paint.doubtful("the crate's own tests do not compile; cargo has said why")
        ),
        (false, said) => writeln!(
            text,
            "\n{}\n{said}",
            paint.doubtful("the crate's own tests fail:")
        ),
    };
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
    let _ = writeln!(text, "  (with --output json it is a case, to keep)");
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::contract::ModuleRef;
    use crate::digest::Digest;

    fn case(name: &str) -> Examined {
        Examined {
            file: PathBuf::from(format!("/crates/dim-staff/cases/{name}.json")),
            title: "Staff with their departments".into(),
            rows_in: 10,
            holds: true,
            difference: Vec::new(),
            native: Some(Vec::new()),
            fuel: Some(41_230),
            fuel_before: Some(41_230),
            fuel_fault: None,
            updated: false,
        }
    }

    fn tested() -> Tested {
        let wrong = Examined {
            holds: false,
            difference: vec![
                "output, row 2 (staff_id 2), location: expected \"Leeds\", came \"Leds\"".into(),
            ],
            native: Some(vec![
                "output, row 1 (staff_id 1), pay: expected 1, came 2".into(),
            ]),
            fuel_fault: Some(
                "fuel: 9, which is 1 per row, 12.5 % more than the 8 that the case has".into(),
            ),
            ..case("wrong")
        };
        let empty = Examined {
            rows_in: 0,
            native: None,
            ..case("empty")
        };
        let broken = Broken {
            property: "the size of chunks makes a difference".into(),
            found: vec!["output, row 1 (id 0), number: expected 2, came 1".into()],
            smallest: vec![
                "note: note_id 0, body null".into(),
                "note: note_id 1, body null".into(),
            ],
            case: "{}".into(),
            first_found_on: "generated rows, seed 1".into(),
        };
        Tested {
            module: ModuleRef {
                name: "dim-staff".into(),
                version: "1.0.0".into(),
                digest: Digest::of("dim-staff"),
            },
            cases: vec![case("rows"), empty, wrong],
            native: None,
            properties: Some(Properties {
                cases: 3,
                generated: 10,
                gave_up: 2,
                seed: 1,
                broken: vec![broken],
            }),
            added: Some("/crates/dim-staff/cases/found.json".into()),
            holds: false,
        }
    }

    #[test]
    fn what_does_not_hold_is_told_by_row_and_column_and_with_the_smallest_rows() {
        insta::assert_snapshot!(told(&tested(), Path::new("/crates"), Paint::new(false)));
    }

    #[test]
    fn a_test_as_json_keeps_its_schema() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&tested()).expect("JSON"));
    }
}
