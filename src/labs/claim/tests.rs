//! A claim that should fail, fails; a claim that could not fail, fails too.

use super::{Claim, Tolerance, Value, number};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn accepts(tolerance: Tolerance, predicted: impl Into<Value>, measured: impl Into<Value>) -> bool {
    tolerance.accepts(&predicted.into(), &measured.into())
}

fn every_tolerance() -> Vec<Tolerance> {
    use Tolerance::*;
    vec![Exact, Absolute(1e9), Relative(0.9), AtLeast, AtMost, Above, Below, Between(-1e9, 1e9)]
}

#[test]
fn each_tolerance_accepts_its_edge_and_no_more() {
    assert!(accepts(Tolerance::Exact, 0.1, 0.1));
    assert!(!accepts(Tolerance::Exact, 0.1, 0.1 + f64::EPSILON));
    assert!(accepts(Tolerance::Absolute(0.5), 1.0, 1.5) && accepts(Tolerance::Absolute(0.5), 1.0, 0.5));
    assert!(!accepts(Tolerance::Absolute(0.5), 1.0, 1.500001));
    assert!(
        accepts(Tolerance::Relative(0.25), -8.0, -10.0) && !accepts(Tolerance::Relative(0.25), -8.0, -10.1)
    );
    assert!(accepts(Tolerance::Relative(0.25), 0.0, 0.0) && !accepts(Tolerance::Relative(0.25), 0.0, 1e-300));
    assert!(accepts(Tolerance::AtLeast, 0.8, 0.8) && !accepts(Tolerance::AtLeast, 0.8, 0.799));
    assert!(accepts(Tolerance::AtMost, 0.6, 0.6) && !accepts(Tolerance::AtMost, 0.6, 0.601));
    assert!(accepts(Tolerance::Above, 0.0, 1e-300) && !accepts(Tolerance::Above, 0.0, 0.0));
    assert!(accepts(Tolerance::Below, 0.0, -1e-300) && !accepts(Tolerance::Below, 0.0, 0.0));
    assert!(
        accepts(Tolerance::Between(0.95, 1.1), 1.0, 1.1)
            && !accepts(Tolerance::Between(0.95, 1.1), 1.0, 0.94)
    );
}

#[test]
fn nan_fails_everything() {
    for tolerance in every_tolerance() {
        for (predicted, measured) in [(NAN, NAN), (NAN, 1.0), (1.0, NAN)] {
            assert!(!accepts(tolerance.clone(), predicted, measured), "{tolerance}: {predicted} {measured}");
        }
        assert!(!accepts(tolerance.clone(), [1.0, 1.0], [1.0, NAN]), "{tolerance}: one NaN in a list");
    }
    for tolerance in [Tolerance::Absolute(NAN), Tolerance::Relative(NAN), Tolerance::Between(NAN, NAN)] {
        assert!(!accepts(tolerance, 1.0, 1.0), "a NaN tolerance");
    }
}

#[test]
fn infinities_agree_only_exactly() {
    for tolerance in every_tolerance() {
        let exact = tolerance == Tolerance::Exact;
        assert_eq!(accepts(tolerance.clone(), INF, INF), exact, "{tolerance}");
        for (predicted, measured) in
            [(INF, -INF), (-INF, INF), (1.0, INF), (1.0, -INF), (-INF, 1.0), (INF, 1.0)]
        {
            assert!(!accepts(tolerance.clone(), predicted, measured), "{tolerance}: {predicted} {measured}");
        }
    }
}

#[test]
fn a_tolerance_that_cannot_fail_fails() {
    for tolerance in [
        Tolerance::Absolute(INF),
        Tolerance::Relative(INF),
        Tolerance::Relative(1.0),
        Tolerance::Between(-INF, INF),
        Tolerance::Absolute(-1.0),
        Tolerance::Relative(-0.1),
        Tolerance::Between(2.0, 0.0),
        Tolerance::Each(vec![]),
    ] {
        assert!(!accepts(tolerance.clone(), 1.0, 1.0), "{tolerance}");
    }
}

#[test]
fn lists_need_equal_lengths_and_at_least_one_number() {
    let near = Tolerance::Absolute(0.1);
    assert!(accepts(near.clone(), [1.0, 2.0], [1.05, 1.95]));
    assert!(!accepts(near.clone(), [1.0, 2.0], [1.05, 2.2]));
    assert!(!accepts(near.clone(), [1.0, 2.0], [1.0]));
    assert!(!accepts(near.clone(), [1.0], [1.0, 1.0]));
    assert!(!accepts(near.clone(), [1.0, 2.0], 1.0));
    for tolerance in every_tolerance() {
        assert!(!accepts(tolerance.clone(), Vec::new(), Vec::new()), "{tolerance}: nothing compared");
        assert!(!accepts(tolerance.clone(), 1.0, Vec::new()), "{tolerance}: nothing measured");
    }
}

#[test]
fn one_prediction_stands_for_every_measurement() {
    assert!(accepts(Tolerance::Relative(0.15), 2.1416, [1.98, 2.2, 2.1]));
    assert!(!accepts(Tolerance::Relative(0.15), 2.1416, [1.98, 2.9, 2.1]));
}

#[test]
fn each_part_has_its_own_tolerance() {
    let each = Tolerance::Each(vec![Tolerance::Exact, Tolerance::Above, Tolerance::Relative(1e-3)]);
    assert!(accepts(each.clone(), [0.0, 0.0, 9.4012], [0.0, 3.23, 9.4010]));
    assert!(!accepts(each.clone(), [0.0, 0.0, 9.4012], [1e-9, 3.23, 9.4010]));
    assert!(!accepts(each.clone(), [0.0, 0.0, 9.4012], [0.0, 0.0, 9.4010]));
    assert!(!accepts(each.clone(), [0.0, 0.0], [0.0, 1.0]), "fewer parts than tolerances");
    let nested = Tolerance::Each(vec![Tolerance::Each(vec![Tolerance::Exact])]);
    assert!(!accepts(nested, 1.0, 1.0));
}

#[test]
fn words_agree_only_exactly() {
    assert!(accepts(Tolerance::Exact, "converges", "converges"));
    assert!(!accepts(Tolerance::Exact, "converges", "diverges"));
    assert!(!accepts(Tolerance::Absolute(1.0), "converges", "converges"));
    assert!(!accepts(Tolerance::Exact, "1", 1.0) && !accepts(Tolerance::Exact, 1.0, "1"));
}

#[test]
fn json_has_the_promised_fields_and_no_null() {
    let tolerance = Tolerance::Each(vec![Tolerance::Absolute(0.01), Tolerance::AtLeast]);
    let claim =
        Claim::check("C8.7", "mean of max", "Boureau", [1.5, 0.0], [INF, NAN], tolerance).parts(["a"]);
    let json = serde_json::to_string(&claim).unwrap();
    let expected = concat!(
        r#"{"id":"C8.7","chapter":"","statement":"mean of max","source":"Boureau","predicted":[1.5,0.0],"#,
        r#""measured":["inf","NaN"],"tolerance":[0.01,"at least"],"holds":false}"#
    );
    assert_eq!(json, expected);
}

#[test]
fn numbers_read_well() {
    let cases = [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (16384.0, "16384"),
        (9.4012, "9.4012"),
        (13.333_33, "13.333"),
        (-0.084_999, "−0.084999"),
        (0.343_9, "0.3439"),
        (9.999_999, "10"),
        (0.001, "0.001"),
        (2.6e-6, "2.6 × 10⁻⁶"),
        (1e-5, "10⁻⁵"),
        (-6.2e10, "−6.2 × 10¹⁰"),
        (f64::MIN_POSITIVE, "2.23 × 10⁻³⁰⁸"),
        (-INF, "−∞"),
        (NAN, "NaN"),
    ];
    for (x, text) in cases {
        assert_eq!(number(x), text);
    }
}

#[test]
fn a_claim_prints_its_verdict() {
    let claim = Claim::check("R8", "", "", 0.8, 0.846, Tolerance::AtLeast);
    assert_eq!(claim.to_string(), "R8 holds: measured 0.846; predicted ≥ 0.8 (at least)");
}
