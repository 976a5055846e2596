use super::*;

#[test]
fn limits_are_kept_where_they_are_not_the_usual_ones() {
    assert_eq!(kept_limits(&Limits::default()), None);
    let limits = Limits {
        memory_bytes: 1 << 20,
        output_rows: 7,
        ..Limits::default()
    };
    let origin = Origin {
        limits: kept_limits(&limits),
        ..Origin::default()
    };
    assert_eq!(limits_of(&origin).expect("limits"), limits);
}
