//! What [`crate::fuzzing`] may see of this room: values without a server that sent them.

use arrow::array::ArrayRef;
use arrow::datatypes::i256;
use tidemill_codec::copy_out::numeric;
use tokio_postgres::types::Type;

use super::{Form, Number};

/// The values of a column of the type `of`; `None` when its binary form is not read.
pub(crate) fn decode(
    of: &Type,
    modifier: i32,
    values: &[Option<&[u8]>],
) -> Option<Result<ArrayRef, &'static str>> {
    let form = Form::of(of, modifier)?;
    let mut builder = form.builder();
    for value in values {
        if let Err(problem) = form.append(*value, &mut *builder) {
            return Some(Err(problem));
        }
    }
    Some(Ok(builder.finish()))
}

/// A number that has a whole number of hundredths has the same ones in its text.
pub(crate) fn numbers_agree(raw: &[u8]) {
    let Some(number) = Number::parse(raw) else {
        return;
    };
    let text = number.to_string();
    let hundredths = numeric::decode::<i256>(raw, 2);
    if let (Ok(hundredths), Number::Finite { scale: 2, .. }) = (hundredths, &number) {
        let digits: String = text.chars().filter(|c| *c != '.').collect();
        let plain = digits.trim_start_matches('-').trim_start_matches('0');
        let expected = hundredths.to_string();
        let expected = expected.trim_start_matches('-').trim_start_matches('0');
        assert_eq!(plain, expected, "{text}");
    }
}
