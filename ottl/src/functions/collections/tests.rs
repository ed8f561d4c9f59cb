use super::*;

#[test]
fn a_list_of_integers_doubles_and_nan_has_one_order() {
    let mut state = 1_u64;
    for _ in 0..200 {
        let list: Vec<Value<'_>> = (0..60)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                match state >> 62 {
                    0 => Value::Double(f64::NAN),
                    1 => Value::Int(((1_u64 << 53) + (state >> 40) % 4) as i64),
                    _ => Value::Double((state >> 40) as f64 / 7.0),
                }
            })
            .collect();
        let nan = list.iter().filter(|value| number(value).is_nan()).count();
        let sorted: Vec<f64> = sort(list, false).expect("numbers").iter().map(number).collect();
        // As Go's cmp.Compare, which upstream sorts by: NaN is less than every number.
        assert!(sorted[..nan].iter().all(|value| value.is_nan()), "{sorted:?}");
        assert!(sorted[nan..].is_sorted(), "{sorted:?}");
    }
}
