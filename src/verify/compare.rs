//! The one place where a result is judged. Everything here errs towards rejection.

use crate::dtype::DType;
use crate::error::Result;
use crate::real::Bounded;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// How a result stands to its reference.
#[derive(Clone, Debug, Default)]
#[must_use = "a comparison that nobody reads checks nothing"]
pub struct Comparison {
    /// The largest |result − reference|.
    pub worst_error: f64,
    /// The largest share of the proven bound that an element uses; at most one if all is well.
    pub worst_share: f64,
    /// How many elements were compared.
    pub elements: usize,
    /// Why the result is rejected, if it is.
    pub rejected: Option<String>,
}

impl Comparison {
    fn reject(why: String) -> Self {
        Comparison {
            rejected: Some(why),
            worst_share: f64::INFINITY,
            worst_error: f64::INFINITY,
            elements: 0,
        }
    }

    /// Both findings together.
    pub(crate) fn and(self, other: Comparison) -> Self {
        Comparison {
            worst_error: larger(self.worst_error, other.worst_error),
            worst_share: larger(self.worst_share, other.worst_share),
            elements: self.elements + other.elements,
            rejected: self.rejected.or(other.rejected),
        }
    }
}

/// Whether a value is above a limit; NaN is above every limit.
pub(crate) fn exceeds(value: f64, limit: f64) -> bool {
    value.is_nan() || value > limit
}

/// The larger of two, where NaN is larger than everything.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Judges what a device computed, in f32, against the reference.
///
/// With `exact` every element must be the reference's value. Otherwise each must lie within its bound; a
/// bound that says nothing (infinite) is a defect of the case and rejected.
pub fn compare(
    shape: &[usize],
    observed: &[f64],
    expected_shape: &[usize],
    expected: &[Bounded],
    exact: bool,
) -> Comparison {
    if shape != expected_shape {
        return Comparison::reject(format!("shape {shape:?}, expected {expected_shape:?}"));
    }
    let count: usize = expected_shape.iter().product();
    if observed.len() != count || expected.len() != count {
        let found = (observed.len(), expected.len());
        return Comparison::reject(format!("{found:?} elements (result, reference) for {count}"));
    }
    let mut worst = Comparison { elements: count, ..Comparison::default() };
    for (index, (&value, reference)) in observed.iter().zip(expected).enumerate() {
        let error = (value - reference.value).abs();
        let share = if exact {
            // In an exact case both are small whole numbers; zero may carry either sign.
            if value == reference.value { 0.0 } else { f64::INFINITY }
        } else {
            reference.share(value)
        };
        worst.worst_error = larger(worst.worst_error, error);
        worst.worst_share = larger(worst.worst_share, share);
        let vacuous = !exact && !reference.error.is_finite();
        if (vacuous || exceeds(share, 1.0)) && worst.rejected.is_none() {
            worst.rejected = Some(format!(
                "element {index} is {value:e}, expected {:e} ± {:e}{}",
                reference.value,
                if exact { 0.0 } else { reference.error },
                if vacuous { " (a bound that says nothing)" } else { "" },
            ));
        }
    }
    worst
}

/// [`compare`] for tensors: `observed` of any device, `expected` of type [`DType::Bounded`] or integer.
pub(crate) fn compare_tensors(observed: &Tensor, expected: &Tensor, exact: bool) -> Result<Comparison> {
    let integer = |t: &Tensor| t.dtype() == DType::I32;
    if integer(observed) != integer(expected) {
        let given = format!("{} elements, expected {}", observed.dtype(), expected.dtype());
        return Ok(Comparison::reject(given));
    }
    let reference: Vec<Bounded> = if integer(expected) {
        expected.to_f64()?.into_iter().map(Bounded::exact).collect()
    } else {
        expected.to_vec::<Bounded>()?
    };
    let exact = exact || integer(expected);
    Ok(compare(observed.shape(), &observed.to_f64()?, expected.shape(), &reference, exact))
}

/// Whether two results are the same, bit for bit, NaN included.
pub(crate) fn same_bits(a: &Tensor, b: &Tensor) -> Result<bool> {
    let bits = |t: &Tensor| -> Result<(Shape, Vec<u64>)> {
        Ok((*t.shape(), t.to_f64()?.into_iter().map(f64::to_bits).collect()))
    };
    Ok(bits(a)? == bits(b)?)
}

#[cfg(test)]
mod tests {
    //! The harness is fed wrong results and must reject each.
    use super::*;

    fn reference() -> Vec<Bounded> {
        (0..6).map(|i| Bounded::new(f64::from(i) + 0.5, 1e-6)).collect()
    }

    fn values() -> Vec<f64> {
        reference().iter().map(|b| b.value).collect()
    }

    fn rejected(shape: &[usize], observed: &[f64], exact: bool) -> bool {
        compare(shape, observed, &[2, 3], &reference(), exact).rejected.is_some()
    }

    #[test]
    fn the_truth_and_the_edge_of_the_bound_are_accepted() {
        assert!(!rejected(&[2, 3], &values(), false));
        assert!(!rejected(&[2, 3], &values(), true));
        let edge: Vec<f64> = values().iter().map(|v| v + 0.999_999e-6).collect();
        assert!(!rejected(&[2, 3], &edge, false));
    }

    #[test]
    fn one_ulp_over_the_bound_is_rejected() {
        let mut observed = values();
        let limit = (observed[4] + 1e-6) as f32;
        observed[4] = f64::from(f32::from_bits(limit.to_bits() + 1)).max(observed[4] + 1.000_001e-6);
        assert!(rejected(&[2, 3], &observed, false));
    }

    #[test]
    fn nan_and_infinity_are_rejected_wherever_they_stand() {
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for at in 0..6 {
                let mut observed = values();
                observed[at] = wrong;
                assert!(rejected(&[2, 3], &observed, false) && rejected(&[2, 3], &observed, true));
            }
        }
    }

    #[test]
    fn short_long_transposed_and_permuted_results_are_rejected() {
        assert!(rejected(&[2, 3], &values()[..5], false));
        assert!(rejected(&[2, 3], &[values(), vec![0.0]].concat(), false));
        assert!(rejected(&[2, 3], &[], false));
        assert!(rejected(&[3, 2], &values(), false));
        let v = values();
        assert!(rejected(&[2, 3], &[v[0], v[3], v[1], v[4], v[2], v[5]], false));
        assert!(rejected(&[2, 3], &[0.0; 6], false));
    }

    #[test]
    fn an_exact_case_forgives_nothing() {
        let mut observed = values();
        observed[0] = f64::from(f32::from_bits((observed[0] as f32).to_bits() + 1));
        assert!(rejected(&[2, 3], &observed, true) && !rejected(&[2, 3], &observed, false));
    }

    #[test]
    fn a_vacuous_bound_is_rejected() {
        let vacuous = [Bounded::new(1.0, f64::INFINITY)];
        assert!(compare(&[1], &[1.0], &[1], &vacuous, false).rejected.is_some());
        let undefined = [Bounded::new(1.0, f64::NAN)];
        assert!(compare(&[1], &[1.0], &[1], &undefined, false).rejected.is_some());
    }
}
