//! Ranges of a table's blocks.

/// A range of a table's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: u64,
    /// `None` is open: rows that were added after the size was asked for lie behind, and so might rows of
    /// the snapshot if the size was asked of a file system that lags.
    pub(super) until: Option<u64>,
}

impl Range {
    pub(super) const WHOLE: Self = Self {
        from: 0,
        until: None,
    };

    pub(super) fn conditions(self) -> impl Iterator<Item = String> {
        let bound = |sign: &str, block: u64| format!("ctid {sign} '({block},0)'::pg_catalog.tid");
        let from = (self.from > 0).then(|| bound(">=", self.from));
        from.into_iter()
            .chain(self.until.map(|until| bound("<", until)))
    }
}

/// Ranges of `each` blocks that together are the blocks of a table of `all` blocks from `from` on and before `until`.
pub(super) fn split(all: u64, each: u64, from: u64, until: Option<u64>) -> Vec<Range> {
    let blocks = until.unwrap_or(all).saturating_sub(from);
    let mut ranges: Vec<Range> = (0..blocks.div_ceil(each).max(1))
        .map(|n| Range {
            from: from + n * each,
            until: Some(from + (n + 1) * each),
        })
        .collect();
    if let Some(last) = ranges.last_mut() {
        last.until = until;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_block_once_and_the_last_is_open() {
        let ranges = |all, from, until| -> Vec<_> {
            let ranges = split(all, 4, from, until).into_iter();
            ranges.map(|range| (range.from, range.until)).collect()
        };
        assert_eq!(ranges(0, 0, None), [(0, None)]);
        assert_eq!(ranges(4, 0, None), [(0, None)]);
        assert_eq!(ranges(5, 0, None), [(0, Some(4)), (4, None)]);
        assert_eq!(ranges(9, 0, None), [(0, Some(4)), (4, Some(8)), (8, None)]);
        // What an earlier part left, with blocks that were added meanwhile or taken away.
        assert_eq!(ranges(9, 4, None), [(4, Some(8)), (8, None)]);
        assert_eq!(ranges(3, 8, None), [(8, None)]);
        assert_eq!(ranges(9, 3, Some(8)), [(3, Some(7)), (7, Some(8))]);
        assert_eq!(ranges(9, 3, Some(7)), [(3, Some(7))]);
    }
}
