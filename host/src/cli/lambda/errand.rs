//! From what a function is told to what it is to do.

use crate::error::Error;
use crate::lambda::{Asked, Happened, Place, Places, StoredObject, Trigger};
use crate::run::Stage;

/// What one notice makes the function do.
pub(super) struct Errand {
    /// The message of SQS that it came in.
    pub(super) message: Option<String>,
    pub(super) wish: Result<Wish, Error>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Whatever is pending, for a schedule or for these manifests; with a word about each object that is none.
    Do(Asked, Vec<String>),
    /// Nothing, for these reasons.
    Skip(Vec<String>),
}

/// What every notice of a trigger makes a function do that does `stage`, or all.
pub(super) fn errands(trigger: Trigger, places: &Places, stage: Option<Stage>) -> Vec<Errand> {
    let notices = trigger.notices.into_iter();
    notices
        .map(|notice| Errand {
            message: notice.message,
            wish: match notice.says {
                Ok(happened) => wish(happened, places, stage),
                Err(error) => Err(error.into()),
            },
        })
        .collect()
}

fn wish(happened: Happened, places: &Places, stage: Option<Stage>) -> Result<Wish, Error> {
    let objects = match happened {
        Happened::Due(asked) => return Ok(Wish::Do(asked, Vec::new())),
        Happened::Nothing(word) => return Ok(Wish::Skip(vec![word])),
        Happened::Created(objects) => objects,
    };
    let mut words = Vec::new();
    let mut is_due = false;
    for object in &objects {
        match places.of(object, stage)? {
            Place::Landing(..) | Place::Processed(_) => {
                is_due = true;
                words.push(name(object));
            }
            Place::Other(word) => words.push(word),
        }
    }
    Ok(match is_due {
        true => Wish::Do(Asked::default(), words),
        false => Wish::Skip(words),
    })
}

fn name(object: &StoredObject) -> String {
    format!("s3://{}/{}", object.bucket, object.key)
}

/// What is to be done for all of them together; `None` for nothing.
pub(super) fn together(errands: &[Errand]) -> Option<Asked> {
    let mut asked = errands.iter().filter_map(|errand| match &errand.wish {
        Ok(Wish::Do(asked, _)) => Some(asked),
        _ => None,
    });
    let mut all = asked.next()?.clone();
    for one in asked {
        all.reconcile |= one.reconcile;
        // All tables are more than any.
        match one.tables.is_empty() || all.tables.is_empty() {
            true => all.tables.clear(),
            false => all.tables.extend_from_slice(&one.tables),
        }
    }
    all.tables.sort();
    all.tables.dedup();
    Some(all)
}

/// The manifests that are spoken of.
pub(super) fn names(errands: &[Errand]) -> Vec<String> {
    let words = errands.iter().filter_map(|errand| match &errand.wish {
        Ok(Wish::Do(_, words)) => Some(words),
        _ => None,
    });
    words
        .flatten()
        .filter(|word| word.starts_with("s3://"))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(tables: &[&str], reconcile: bool) -> Errand {
        let tables = tables.iter().map(ToString::to_string).collect();
        Errand {
            message: None,
            wish: Ok(Wish::Do(Asked { tables, reconcile }, Vec::new())),
        }
    }

    #[test]
    fn errands_are_done_together() {
        let skip = || Errand {
            message: None,
            wish: Ok(Wish::Skip(Vec::new())),
        };
        assert_eq!(together(&[skip(), skip()]), None);
        let asked = together(&[skip(), due(&["b", "a"], false), due(&["a"], true)]);
        assert_eq!(
            asked,
            Some(Asked {
                tables: vec!["a".into(), "b".into()],
                reconcile: true
            })
        );
        let all = together(&[due(&[], false), due(&["a"], false)]);
        assert_eq!(all, Some(Asked::default()));
    }
}
