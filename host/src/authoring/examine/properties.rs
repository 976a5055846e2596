//! What every module must hold to, whatever it makes.
//!
//! - It goes to its end, or says why not: no trap, no limit, nothing that it did not declare, on anything that it
//!   declared that it reads. Giving up with a message is allowed.
//! - The same input gives the same output, bit for bit: twice, and in chunks of every size.
//! - The order of streamed rows makes no difference to the set of rows, retractions and rejects.
//! - A lookup without rows is a lookup.
//!
//! They are tried on the cases and on generated extremes. Where one does not hold, the input is made as small as it
//! goes.

use std::path::PathBuf;

use serde::Serialize;

use super::draft::Draft;
use super::extremes::{Dice, generated};
use super::shrink::shrink;
use crate::cases::{self, Case, Difference, FailureKind, Made, Outcome, RunError, compare};
use crate::contract::{Description, Role};
use crate::sandbox::Module;

/// Sizes of chunks besides the usual one.
const CHUNK_ROWS: [usize; 3] = [1, 2, 7];

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Broken {
    /// What does not hold: "the size of chunks makes a difference".
    pub property: String,
    /// What was found on the smallest input, a line each.
    pub found: Vec<String>,
    /// The smallest input, for people, a line each.
    pub smallest: Vec<String>,
    /// The smallest input as the text of a case, to keep.
    pub case: String,
    /// What it was found on first: a case, or the seed of generated rows.
    pub first_found_on: String,
}

/// What was tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Properties {
    /// Cases.
    pub cases: usize,
    /// Generated inputs.
    pub generated: usize,
    /// Those of them on which the module gave up with a message, which it may.
    pub gave_up: usize,
    /// The seed of the generated ones.
    pub seed: u64,
    /// What does not hold.
    pub broken: Vec<Broken>,
}

/// A way not to be a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Property {
    Ends,
    Twice,
    Chunks,
    Order,
    EmptyLookup,
}

impl Property {
    fn told(self) -> &'static str {
        match self {
            Self::Ends => "on rows that it declared it does not go to its end",
            Self::Twice => "run twice, it gives something else",
            Self::Chunks => "the size of chunks makes a difference",
            Self::Order => "the order of rows makes a difference",
            Self::EmptyLookup => "without rows in a lookup it does not go to its end",
        }
    }
}

const ALL: [Property; 5] = [
    Property::Ends,
    Property::Twice,
    Property::Chunks,
    Property::Order,
    Property::EmptyLookup,
];

/// Tries everything; `given` are the cases, each with the module as it wants it.
pub(super) fn hold(
    module: &Module,
    given: Vec<(PathBuf, (Case, Module))>,
    seed: u64,
) -> Result<Properties, RunError> {
    let described = module.description();
    let mut inputs: Vec<(String, Module, Draft)> = Vec::new();
    for (file, (case, module)) in given {
        // A case that expects a failure says itself what must come of it.
        if matches!(case.expected, Outcome::Made(_)) {
            let draft = Draft::of(&case, module.description());
            inputs.push((file.display().to_string(), module, draft));
        }
    }
    let mut tried = Properties {
        cases: inputs.len(),
        seed,
        ..Properties::default()
    };
    let known: Vec<Draft> = inputs.iter().map(|(_, _, draft)| draft.clone()).collect();
    for draft in generated(described, &known, seed) {
        tried.generated += 1;
        let place = format!("generated rows, seed {seed}");
        inputs.push((place, module.clone(), draft));
    }
    for (place, module, draft) in inputs {
        let trial = Trial { module: &module };
        tried.gave_up += usize::from(trial.gives_up(&draft)?);
        for property in ALL {
            let is_known = tried
                .broken
                .iter()
                .any(|broken| broken.property == property.told());
            if is_known || trial.breaks(property, &draft)?.is_none() {
                continue;
            }
            tried
                .broken
                .push(trial.smallest(property, draft.clone(), &place)?);
        }
    }
    Ok(tried)
}

/// A module with what it is tried on.
struct Trial<'m> {
    module: &'m Module,
}

impl Trial<'_> {
    fn described(&self) -> &Description {
        self.module.description()
    }

    fn run(&self, case: &Case, chunk_rows: Option<usize>) -> Result<Outcome, RunError> {
        let ran = match chunk_rows {
            None => cases::run_as_usual(self.module, case),
            Some(rows) => cases::run(self.module, case, rows),
        };
        Ok(ran?.outcome)
    }

    fn gives_up(&self, draft: &Draft) -> Result<bool, RunError> {
        let Some(case) = draft.case(&cases::shape(self.described())) else {
            return Ok(false);
        };
        let outcome = self.run(&case, None)?;
        Ok(matches!(outcome, Outcome::Failed(failed) if failed.kind == FailureKind::GaveUp))
    }

    /// What is wrong, a line each; `None` when the property holds.
    fn breaks(&self, property: Property, draft: &Draft) -> Result<Option<Vec<String>>, RunError> {
        let Some(case) = draft.case(&cases::shape(self.described())) else {
            return Ok(None);
        };
        let usual = self.run(&case, None)?;
        let dishonest = dishonest(&usual, draft.twice);
        Ok(match property {
            Property::Ends => dishonest,
            // What does not go to its end breaks that alone.
            _ if dishonest.is_some() => None,
            Property::Twice => differs(compare(&usual, &self.run(&case, None)?)),
            Property::Chunks => self.chunks(&case, &usual, draft.twice)?,
            Property::Order => match draft.twice {
                // Which of two rows of one key comes first may matter.
                true => None,
                false => self.order(&case, &usual)?,
            },
            Property::EmptyLookup => self.empty_lookups(draft)?,
        })
    }

    fn chunks(
        &self,
        case: &Case,
        usual: &Outcome,
        twice: bool,
    ) -> Result<Option<Vec<String>>, RunError> {
        for rows in CHUNK_ROWS {
            let cut = self.run(case, Some(rows))?;
            if twice && is_second_key(usual) && is_second_key(&cut) {
                // Which of two rows of one key is met first depends on where it is cut.
                continue;
            }
            if let Some(mut lines) = differs(compare(usual, &cut)) {
                lines.insert(
                    0,
                    format!("one chunk is what is expected, chunks of {rows} rows are what came:"),
                );
                return Ok(Some(lines));
            }
        }
        Ok(None)
    }

    fn order(&self, case: &Case, usual: &Outcome) -> Result<Option<Vec<String>>, RunError> {
        for order in [Order::Backwards, Order::Mixed] {
            let (mixed, places) = self.in_order(case, order);
            let mut came = self.run(&mixed, None)?;
            if let Outcome::Made(made) = &mut came {
                for reject in &mut made.rejects {
                    let input = case
                        .inputs
                        .iter()
                        .position(|input| input.table == reject.input);
                    let place = input.and_then(|input| {
                        places
                            .get(input)?
                            .get(usize::try_from(reject.row - 1).ok()?)
                    });
                    reject.row = place.map_or(reject.row, |place| *place as u64 + 1);
                }
            }
            if let Some(lines) = self.other_set(usual, &came) {
                return Ok(Some(lines));
            }
        }
        Ok(None)
    }

    /// The same case with its streamed rows in another order, and where each row was before.
    fn in_order(&self, case: &Case, order: Order) -> (Case, Vec<Vec<usize>>) {
        let mut mixed = case.clone();
        let mut places = Vec::new();
        for (input, declared) in mixed.inputs.iter_mut().zip(&self.described().inputs) {
            let mut place: Vec<usize> = (0..input.rows.num_rows()).collect();
            if declared.role == Role::Streamed {
                order.apply(&mut place);
                let cells = cases::cells(&input.rows);
                let cells: Vec<_> = place
                    .iter()
                    .filter_map(|at| cells.get(*at).cloned())
                    .collect();
                if let Ok(rows) = cases::batch(&declared.schema, &cells) {
                    input.rows = rows;
                }
            }
            places.push(place);
        }
        (mixed, places)
    }

    /// How two outcomes differ when the order does not count.
    fn other_set(&self, usual: &Outcome, came: &Outcome) -> Option<Vec<String>> {
        let (usual, came) = match (usual, came) {
            (Outcome::Made(usual), Outcome::Made(came)) => (usual, came),
            // Which of several faults it gives up on depends on which comes first.
            (Outcome::Failed(usual), Outcome::Failed(came)) if usual.kind == came.kind => {
                return None;
            }
            (usual, came) => return differs(compare(usual, came)),
        };
        let sorted = |made: &Made| -> Option<Outcome> {
            let output = &self.described().output;
            let sorted = |schema, rows| {
                let mut cells = cases::cells(rows);
                cells.sort();
                cases::batch(schema, &cells).ok()
            };
            let mut rejects = made.rejects.clone();
            rejects.sort();
            Some(Outcome::Made(Made {
                output: sorted(&output.schema, &made.output)?,
                retractions: sorted(&output.key_schema(), &made.retractions)?,
                rejects,
            }))
        };
        let mut lines = differs(compare(&sorted(usual)?, &sorted(came)?))?;
        lines.insert(
            0,
            "as given is what is expected, in another order is what came, both sorted:".into(),
        );
        Some(lines)
    }

    fn empty_lookups(&self, draft: &Draft) -> Result<Option<Vec<String>>, RunError> {
        let mut bare = draft.clone();
        let mut lookups = 0;
        for (input, declared) in bare.inputs.iter_mut().zip(&self.described().inputs) {
            if declared.role == Role::Lookup && !input.rows.is_empty() {
                input.rows.clear();
                lookups += 1;
            }
        }
        match bare.case(&cases::shape(self.described())) {
            Some(case) if lookups > 0 => Ok(dishonest(&self.run(&case, None)?, draft.twice)),
            _ => Ok(None),
        }
    }

    fn smallest(&self, property: Property, draft: Draft, place: &str) -> Result<Broken, RunError> {
        let described = self.described();
        let smallest = shrink(draft, described, |draft| {
            self.breaks(property, draft)
                .is_ok_and(|broken| broken.is_some())
        });
        let case = smallest.case(&cases::shape(described)).map(|mut case| {
            property.told().clone_into(&mut case.title);
            case.to_json()
        });
        Ok(Broken {
            property: property.told().to_owned(),
            found: self.breaks(property, &smallest)?.unwrap_or_default(),
            smallest: smallest.told(described),
            case: case.unwrap_or_default(),
            first_found_on: place.to_owned(),
        })
    }
}

/// An order of rows.
#[derive(Debug, Clone, Copy)]
enum Order {
    Backwards,
    Mixed,
}

impl Order {
    fn apply(self, places: &mut [usize]) {
        match self {
            Self::Backwards => places.reverse(),
            Self::Mixed => {
                let mut dice = Dice::new(places.len() as u64);
                for at in (1..places.len()).rev() {
                    let other = dice.below(at as u64 + 1);
                    places.swap(at, usize::try_from(other).unwrap_or(at));
                }
            }
        }
    }
}

fn differs(compared: Result<(), Difference>) -> Option<Vec<String>> {
    compared.err().map(|difference| difference.lines)
}

/// An end that no module may come to. A key that comes twice in what it gives is no fault of its own where one came twice
/// in what it was given.
fn dishonest(outcome: &Outcome, twice: bool) -> Option<Vec<String>> {
    match outcome {
        Outcome::Failed(failed) if failed.kind != FailureKind::GaveUp => {
            let allowed = twice && is_second_key(outcome);
            (!allowed).then(|| vec![failed.to_string()])
        }
        _ => None,
    }
}

/// Whether the sandbox has found a key a second time.
fn is_second_key(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(failed)
        if failed.kind == FailureKind::Breach && failed.message.contains(" came before in its "))
}
