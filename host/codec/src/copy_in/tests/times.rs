//! Dates, times of day and timestamps.

use super::super::cells::{DAY_MICROS, DAYS, EPOCH_DAYS, EPOCH_MICROS, MICROS};
use super::*;

#[test]
fn dates_count_from_2000() {
    let values = copy(
        Date32Array::from(vec![Some(10_957), Some(0), None]),
        Wire::Date,
    );
    assert_eq!(
        values.expect("it is exact"),
        [
            Some(0_i32.to_be_bytes().to_vec()),
            Some((-10_957_i32).to_be_bytes().to_vec()),
            None
        ]
    );
    for days in [i32::MIN, i32::MAX, DAYS.start + EPOCH_DAYS - 1] {
        assert_eq!(
            refusal(Date32Array::from(vec![days]), Wire::Date),
            "column `x` holds a date beyond the range of PostgreSQL, in row 0 of the batch"
        );
    }
}

#[test]
fn times_are_microseconds_of_a_day() {
    let six = Wire::Time { digits: 6 };
    let second = Some(1_000_000_i64.to_be_bytes().to_vec());
    let arrays: [ArrayRef; 3] = [
        Arc::new(Time32SecondArray::from(vec![Some(1), None])),
        Arc::new(Time32MillisecondArray::from(vec![Some(1_000), None])),
        Arc::new(Time64MicrosecondArray::from(vec![Some(1_000_000), None])),
    ];
    for array in arrays {
        assert_eq!(
            copy(array, six.clone()).expect("it is exact"),
            [second.clone(), None]
        );
    }
    for micros in [-1, DAY_MICROS + 1] {
        assert_eq!(
            refusal(Time64MicrosecondArray::from(vec![micros]), six.clone()),
            "column `x` holds a time of day beyond 24:00:00, in row 0 of the batch"
        );
    }
}

#[test]
fn timestamps_count_from_2000_and_never_wrap() {
    let plain = Wire::Timestamp {
        zoned: false,
        digits: 6,
    };
    let expected = [Some((-1_000_000_i64).to_be_bytes().to_vec()), None];
    let second = EPOCH_MICROS / 1_000_000 - 1;
    let arrays: [ArrayRef; 3] = [
        Arc::new(TimestampSecondArray::from(vec![Some(second), None])),
        Arc::new(TimestampMillisecondArray::from(vec![
            Some(second * 1_000),
            None,
        ])),
        Arc::new(TimestampMicrosecondArray::from(vec![
            Some(second * 1_000_000),
            None,
        ])),
    ];
    for array in arrays {
        assert_eq!(copy(array, plain.clone()).expect("it is exact"), expected);
    }
    let beyond =
        "column `x` holds a timestamp beyond the range of PostgreSQL, in row 0 of the batch";
    for micros in [
        i64::MIN,
        i64::MIN + EPOCH_MICROS,
        MICROS.start + EPOCH_MICROS - 1,
    ] {
        let array = TimestampMicrosecondArray::from(vec![micros]);
        assert_eq!(refusal(array, plain.clone()), beyond);
    }
    let array = TimestampSecondArray::from(vec![i64::MAX]);
    assert_eq!(refusal(array, plain), beyond);
}

#[test]
fn a_wall_clock_is_no_instant() {
    let zoned = Wire::Timestamp {
        zoned: true,
        digits: 6,
    };
    let instant = TimestampMicrosecondArray::from(vec![EPOCH_MICROS]).with_timezone("+02:00");
    assert_eq!(
        copy(instant, zoned.clone()).expect("it is exact"),
        [Some(vec![0; 8])]
    );
    assert!(!encodes(
        &DataType::Timestamp(TimeUnit::Microsecond, None),
        &zoned
    ));
    assert!(!encodes(
        &DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        &zoned
    ));
}

#[test]
fn a_column_with_fewer_digits_of_a_second_takes_what_it_need_not_round() {
    let wire = Wire::Timestamp {
        zoned: false,
        digits: 3,
    };
    let array = TimestampMicrosecondArray::from(vec![EPOCH_MICROS + 5_000]);
    assert_eq!(
        copy(array, wire.clone()).expect("it is exact"),
        [Some(5_000_i64.to_be_bytes().to_vec())]
    );
    assert_eq!(
        refusal(
            TimestampMicrosecondArray::from(vec![EPOCH_MICROS + 5_001]),
            wire
        ),
        "column `x` holds a time with more digits of a second than its column keeps, in row 0 of the batch"
    );
}
