//! Ours against scipy and statsmodels: `tests/reference/statistics_of_scipy.py` made the numbers.

use std::path::Path;

use serde_json::Value;

use super::*;

fn cases(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/statistics.json");
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = all[name].as_array().unwrap().clone();
    assert!(cases.len() > 2, "{name}");
    cases
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn count(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// Within 1e-9 of the size of the number, so that a tiny p-value is right as well; or as near as rounding of numbers of
/// the size of one allows.
#[track_caller]
fn agrees(got: f64, want: f64, case: &Value) {
    let gap = (got - want).abs();
    assert!(gap <= 1e-9 * want.abs() || gap <= 1e-15, "{got} is not {want}: {case}");
}

#[test]
fn intervals_of_shares_agree() {
    for case in cases("wilson") {
        let (low, high) = wilson(count(&case[0]), count(&case[1]));
        agrees(low, number(&case[2][0]), &case);
        agrees(high, number(&case[2][1]), &case);
    }
    for case in cases("newcombe") {
        let pair = |value: &Value| (count(&value[0]), count(&value[1]));
        let (_, (low, high)) = newcombe(pair(&case[0]), pair(&case[1]));
        agrees(low, number(&case[2][0]), &case);
        agrees(high, number(&case[2][1]), &case);
    }
}

#[test]
fn tests_of_pairs_agree() {
    for case in cases("mcnemar") {
        agrees(mcnemar(count(&case[0]), count(&case[1])), number(&case[2]), &case);
    }
    for case in cases("deviation") {
        let (mean, deviation) = mean_and_deviation(&numbers(&case[0]));
        agrees(mean, number(&case[1]), &case);
        agrees(deviation.unwrap(), number(&case[2]), &case);
    }
    for case in cases("connor") {
        agrees(detectable_difference(count(&case[0]), number(&case[1]), ALPHA).unwrap(), number(&case[2]), &case);
    }
}

#[test]
fn equivalence_agrees() {
    for case in cases("equivalence") {
        let differences: Vec<f64> = match case["values"].as_array() {
            Some(values) => values.iter().map(number).collect(),
            None => std::iter::zip([1.0, -1.0, 0.0], numbers(&case["counts"]))
                .flat_map(|(value, times)| std::iter::repeat_n(value, times as usize))
                .collect(),
        };
        let found = equivalence(&differences, number(&case["margin"])).unwrap();
        agrees(found.p, number(&case["p"]), &case);
        agrees(found.interval.0, number(&case["interval"][0]), &case);
        agrees(found.interval.1, number(&case["interval"][1]), &case);
    }
}

#[test]
fn adjusted_p_values_agree() {
    for case in cases("holm") {
        let adjusted = holm(&numbers(&case[0]));
        assert_eq!(adjusted.len(), case[1].as_array().unwrap().len());
        for (got, want) in adjusted.into_iter().zip(numbers(&case[1])) {
            agrees(got, want, &case);
        }
    }
}

#[test]
fn distributions_agree() {
    for case in cases("normal_quantile") {
        agrees(normal_quantile(number(&case[0])), number(&case[1]), &case);
    }
    for case in cases("student_cdf") {
        agrees(student_cdf(number(&case[0]), number(&case[1])), number(&case[2]), &case);
    }
    for case in cases("student_quantile") {
        agrees(student_quantile(number(&case[0]), number(&case[1])), number(&case[2]), &case);
    }
}
