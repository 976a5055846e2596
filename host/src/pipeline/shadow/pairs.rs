//! Which row of one version stands against which row of the other: by key, in whatever order they come.
//!
//! Two versions of a module mostly give their rows in the same order. So rows at the same place are looked at first, a
//! block at a time, and only a row whose neighbour has another key is looked for in a map. What waits there is bounded
//! by how far the two are apart: for versions that give the same rows in another order that is the table.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};

/// Rows of both versions, the active one's first: rows at the same place have the same key.
pub(super) type Block = (RecordBatch, RecordBatch);

/// Whose rows they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Active,
    Candidate,
}

/// Pairs the rows of one execution of both versions.
pub(super) struct Pairing {
    converter: RowConverter,
    active: Rest,
    candidate: Rest,
}

/// What one version gave and has no counterpart yet.
struct Rest {
    /// Where the key is.
    key: Vec<usize>,
    /// Not looked at yet.
    arrived: VecDeque<Arrived>,
    /// Looked at, and alone so far.
    alone: HashMap<Box<[u8]>, VecDeque<Place>>,
}

/// Rows from a place on.
struct Arrived {
    batch: Arc<RecordBatch>,
    from: usize,
}

/// A row.
#[derive(Clone)]
struct Place {
    batch: Arc<RecordBatch>,
    row: usize,
}

impl Pairing {
    /// Pairs by `key`: where each of its columns is in the active version, in the candidate, and its type in both.
    pub(super) fn new(
        key: &[(usize, usize, arrow::datatypes::DataType)],
    ) -> Result<Self, ArrowError> {
        let types = key.iter().map(|(.., kind)| SortField::new(kind.clone()));
        let rest = |key: Vec<usize>| Rest {
            key,
            arrived: VecDeque::new(),
            alone: HashMap::new(),
        };
        Ok(Self {
            converter: RowConverter::new(types.collect())?,
            active: rest(key.iter().map(|(active, ..)| *active).collect()),
            candidate: rest(key.iter().map(|(_, candidate, _)| *candidate).collect()),
        })
    }

    /// Takes rows of one version, and gives what can be compared.
    pub(super) fn arrive(
        &mut self,
        side: Side,
        batch: RecordBatch,
    ) -> Result<Vec<Block>, ArrowError> {
        if batch.num_rows() > 0 {
            let batch = Arc::new(batch);
            let rest = match side {
                Side::Active => &mut self.active,
                Side::Candidate => &mut self.candidate,
            };
            rest.arrived.push_back(Arrived { batch, from: 0 });
        }
        let mut blocks = Vec::new();
        while let Some((active, candidate, rows)) = self.side_by_side() {
            blocks.extend(self.pair(&active, &candidate, rows)?);
        }
        Ok(blocks)
    }

    /// When both versions are done: the last pairs, and the rows that only one of them gave.
    pub(super) fn finish(mut self) -> Result<(Vec<Block>, Alone), ArrowError> {
        let mut pairs = Vec::new();
        let [mut active, mut candidate] = [Vec::new(), Vec::new()];
        active.extend(std::mem::take(&mut self.active.arrived));
        candidate.extend(std::mem::take(&mut self.candidate.arrived));
        for arrived in active {
            let keys = keys(&self.converter, &self.active.key, &arrived, None)?;
            for (row, key) in (arrived.from..).zip(keys.iter()) {
                let place = arrived.place(row);
                match self.candidate.take(key.as_ref()) {
                    Some(other) => pairs.push((place, other)),
                    None => self.active.wait(key.as_ref(), place),
                }
            }
        }
        for arrived in candidate {
            let keys = keys(&self.converter, &self.candidate.key, &arrived, None)?;
            for (row, key) in (arrived.from..).zip(keys.iter()) {
                let place = arrived.place(row);
                match self.active.take(key.as_ref()) {
                    Some(other) => pairs.push((other, place)),
                    None => self.candidate.wait(key.as_ref(), place),
                }
            }
        }
        let blocks = gather_pairs(&pairs)?.into_iter().collect();
        let alone = Alone {
            active: self.active.gather()?,
            candidate: self.candidate.gather()?,
        };
        Ok((blocks, alone))
    }

    /// As many rows of both as have come, from the first that was not looked at.
    fn side_by_side(&mut self) -> Option<(Arrived, Arrived, usize)> {
        let left = |rest: &Rest| rest.arrived.front().map(Arrived::left);
        let rows = left(&self.active)?.min(left(&self.candidate)?);
        Some((self.active.first(rows)?, self.candidate.first(rows)?, rows))
    }

    fn pair(
        &mut self,
        active: &Arrived,
        candidate: &Arrived,
        rows: usize,
    ) -> Result<Vec<Block>, ArrowError> {
        let left = keys(&self.converter, &self.active.key, active, Some(rows))?;
        let right = keys(&self.converter, &self.candidate.key, candidate, Some(rows))?;
        if left.iter().eq(right.iter()) {
            return Ok(vec![(active.slice(rows), candidate.slice(rows))]);
        }
        let mut pairs = Vec::new();
        for (row, (one, other)) in left.iter().zip(right.iter()).enumerate() {
            let (here, there) = (
                active.place(active.from + row),
                candidate.place(candidate.from + row),
            );
            if one == other {
                pairs.push((here, there));
                continue;
            }
            match self.candidate.take(one.as_ref()) {
                Some(found) => pairs.push((here, found)),
                None => self.active.wait(one.as_ref(), here),
            }
            match self.active.take(other.as_ref()) {
                Some(found) => pairs.push((found, there)),
                None => self.candidate.wait(other.as_ref(), there),
            }
        }
        Ok(gather_pairs(&pairs)?.into_iter().collect())
    }
}

/// The rows that only one version gave.
pub(super) struct Alone {
    /// Only the active one.
    pub(super) active: Option<RecordBatch>,
    /// Only the candidate.
    pub(super) candidate: Option<RecordBatch>,
}

impl Rest {
    /// The first `rows` rows, which are not looked at again.
    fn first(&mut self, rows: usize) -> Option<Arrived> {
        let front = self.arrived.front_mut()?;
        let first = Arrived {
            batch: front.batch.clone(),
            from: front.from,
        };
        front.from += rows;
        if front.left() == 0 {
            self.arrived.pop_front();
        }
        Some(first)
    }

    fn wait(&mut self, key: &[u8], place: Place) {
        self.alone.entry(key.into()).or_default().push_back(place);
    }

    fn take(&mut self, key: &[u8]) -> Option<Place> {
        let waiting = self.alone.get_mut(key)?;
        let place = waiting.pop_front();
        if waiting.is_empty() {
            self.alone.remove(key);
        }
        place
    }

    /// What is alone, in the order of keys: the same in every report of the same rows.
    fn gather(self) -> Result<Option<RecordBatch>, ArrowError> {
        let mut alone: Vec<_> = self.alone.into_iter().collect();
        alone.sort_by(|(one, _), (other, _)| one.cmp(other));
        let places: Vec<Place> = alone.into_iter().flat_map(|(_, places)| places).collect();
        gather(&places)
    }
}

impl Arrived {
    fn left(&self) -> usize {
        self.batch.num_rows() - self.from
    }

    fn slice(&self, rows: usize) -> RecordBatch {
        self.batch.slice(self.from, rows)
    }

    fn place(&self, row: usize) -> Place {
        Place {
            batch: self.batch.clone(),
            row,
        }
    }
}

/// The keys of rows that arrived: of all, or of so many.
fn keys(
    converter: &RowConverter,
    key: &[usize],
    arrived: &Arrived,
    rows: Option<usize>,
) -> Result<Rows, ArrowError> {
    let slice = arrived.slice(rows.unwrap_or_else(|| arrived.left()));
    let columns: Vec<ArrayRef> = slice.project(key)?.columns().to_vec();
    converter.convert_columns(&columns)
}

fn gather_pairs(pairs: &[(Place, Place)]) -> Result<Option<Block>, ArrowError> {
    let (active, candidate): (Vec<Place>, Vec<Place>) = pairs.iter().cloned().unzip();
    Ok(gather(&active)?.zip(gather(&candidate)?))
}

/// The rows at these places as one batch; `None` of none.
fn gather(places: &[Place]) -> Result<Option<RecordBatch>, ArrowError> {
    let mut batches: Vec<&RecordBatch> = Vec::new();
    let mut numbers: HashMap<*const RecordBatch, usize> = HashMap::new();
    let mut indices = Vec::with_capacity(places.len());
    for place in places {
        let number = *numbers.entry(Arc::as_ptr(&place.batch)).or_insert_with(|| {
            batches.push(&place.batch);
            batches.len() - 1
        });
        indices.push((number, place.row));
    }
    match batches.is_empty() {
        true => Ok(None),
        false => interleave_record_batch(&batches, &indices).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray as _, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn batch(keys: &[i64], values: &[i64]) -> RecordBatch {
        let field = |name: &str| Field::new(name, DataType::Int64, false);
        let schema = Arc::new(Schema::new(vec![field("key"), field("value")]));
        let column = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
        RecordBatch::try_new(schema, vec![column(keys), column(values)]).expect("a batch")
    }

    fn column(batch: &RecordBatch, at: usize) -> Vec<i64> {
        batch
            .column(at)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    }

    fn pairing() -> Pairing {
        Pairing::new(&[(0, 0, DataType::Int64)]).expect("a key")
    }

    /// Pairs (key, active value, candidate value) in order of keys, and the keys of rows that are alone.
    type Found = (Vec<(i64, i64, i64)>, Vec<i64>, Vec<i64>);

    fn paired(given: &[(Side, &[i64])]) -> Found {
        let mut pairing = pairing();
        let mut blocks = Vec::new();
        for (side, keys) in given {
            let sign = if *side == Side::Active { 1 } else { -1 };
            let values: Vec<i64> = keys.iter().map(|key| key * sign).collect();
            blocks.extend(pairing.arrive(*side, batch(keys, &values)).expect("rows"));
        }
        let (last, alone) = pairing.finish().expect("an end");
        blocks.extend(last);
        let mut pairs = Vec::new();
        for (active, candidate) in blocks {
            assert_eq!(column(&active, 0), column(&candidate, 0));
            let values = column(&active, 1).into_iter().zip(column(&candidate, 1));
            let keys = column(&active, 0).into_iter();
            pairs.extend(
                keys.zip(values)
                    .map(|(key, (one, other))| (key, one, other)),
            );
        }
        pairs.sort_unstable();
        let keys = |batch: Option<RecordBatch>| batch.map(|b| column(&b, 0)).unwrap_or_default();
        (pairs, keys(alone.active), keys(alone.candidate))
    }

    fn both(keys: &[i64]) -> Vec<(i64, i64, i64)> {
        keys.iter().map(|key| (*key, *key, -key)).collect()
    }

    #[test]
    fn rows_of_the_same_key_meet_in_whatever_order_and_pieces_they_come() {
        use Side::{Active, Candidate};
        let cases: [&[(Side, &[i64])]; 5] = [
            &[(Active, &[1, 2, 3, 4]), (Candidate, &[1, 2, 3, 4])],
            &[(Active, &[1, 2, 3, 4]), (Candidate, &[4, 3, 2, 1])],
            &[
                (Candidate, &[1]),
                (Active, &[1, 2]),
                (Candidate, &[2, 3, 4]),
                (Active, &[3, 4]),
            ],
            &[
                (Active, &[1, 2, 3]),
                (Active, &[4]),
                (Candidate, &[2, 3, 4, 1]),
            ],
            &[
                (Candidate, &[]),
                (Candidate, &[4, 1]),
                (Active, &[1, 2, 3, 4]),
                (Candidate, &[3, 2]),
            ],
        ];
        for given in cases {
            assert_eq!(
                paired(given),
                (both(&[1, 2, 3, 4]), vec![], vec![]),
                "{given:?}"
            );
        }
    }

    #[test]
    fn a_row_that_one_of_them_does_not_give_shifts_the_others_and_parts_none() {
        use Side::{Active, Candidate};
        let found = paired(&[(Active, &[1, 2, 3, 4, 5]), (Candidate, &[1, 3, 4, 5, 6])]);
        assert_eq!(found, (both(&[1, 3, 4, 5]), vec![2], vec![6]));
        let found = paired(&[(Active, &[2, 1])]);
        assert_eq!(found, (vec![], vec![1, 2], vec![]));
    }

    #[test]
    fn the_same_key_twice_is_two_rows() {
        use Side::{Active, Candidate};
        let found = paired(&[(Active, &[1, 1, 2]), (Candidate, &[2, 1, 3])]);
        assert_eq!(found, (both(&[1, 2]), vec![1], vec![3]));
    }
}
