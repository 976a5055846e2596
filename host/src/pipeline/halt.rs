//! A run that was told to stop before any of its work was complete.

use super::report::LeftOver;
use crate::error::{Classify, ErrorKind};

/// The names that a message shows.
const SHOWN: usize = 5;

/// Nothing was complete when the word to stop came. To answer that the work goes on would be to promise what the next
/// run, which has as long, will not keep.
#[derive(Debug, thiserror::Error)]
#[error("nothing was complete when the time was over: {left}")]
pub(crate) struct HaltError {
    left: String,
}

impl HaltError {
    pub(super) fn new(left: &[LeftOver]) -> Self {
        let names: Vec<&str> = left
            .iter()
            .take(SHOWN)
            .map(|left| left.what.as_str())
            .collect();
        let more = match left.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Self {
            left: format!("{}{more}", names.join(", ")),
        }
    }
}

impl Classify for HaltError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn hint(&self) -> Option<String> {
        Some(
            "nothing is half committed; give it more time or memory, or less at a time by `landing_rows` under [lambda]; or \
             let `tidemill run` do this once on a machine without a deadline"
                .into(),
        )
    }
}
