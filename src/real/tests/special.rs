//! `shaders/lib/special.wgsl`, transliterated: its bound is derived here, from its own constants.

use std::collections::HashMap;

use super::{Bounded, Real};

const SOURCE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/lib/special.wgsl"));
/// What `Bounded::tanh` and `Bounded::erf` grant, in units of 2⁻²³ of the result.
const TANH_ULPS: f64 = 5.0;
const ERF_ULPS: f64 = 4.0;
const U: f64 = 1.0 / 8_388_608.0;

/// `-0x1.55553cp-2`, as WGSL writes it.
fn hexadecimal(text: &str) -> f64 {
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let (mantissa, exponent) = text.strip_prefix("0x1.").unwrap().split_once('p').unwrap();
    let fraction = i64::from_str_radix(mantissa, 16).unwrap() as f64 / 16f64.powi(mantissa.len() as i32);
    sign * (1.0 + fraction) * 2f64.powi(exponent.parse().unwrap())
}

/// The constants of the shader, by name.
fn constants() -> HashMap<&'static str, f64> {
    SOURCE
        .lines()
        .filter_map(|line| {
            let (name, value) = line.trim().strip_prefix("const ")?.split_once(": f32 = ")?;
            Some((name, hexadecimal(value.strip_suffix(';')?)))
        })
        .collect()
}

/// Coefficients `PREFIX_0 …` of the shader. All are f32, so that no reading rounds them.
fn coefficients<R: Real>(prefix: &str) -> Vec<R> {
    let constants = constants();
    let found = (0..7).map(|i| constants[format!("{prefix}_{i}").as_str()]);
    found.inspect(|&c| assert_eq!(c, f64::from(c as f32))).map(R::from_f64).collect()
}

fn horner<R: Real>(x: R, coefficients: &[R]) -> R {
    let (last, rest) = coefficients.split_last().unwrap();
    rest.iter().rev().fold(*last, |sum, &c| c + x * sum)
}

fn one<R: Real>() -> R {
    R::from_f64(1.0)
}

/// `gradus_tanh`, line by line.
fn gradus_tanh<R: Real>(x: R, c: &[R]) -> R {
    let a = x.abs();
    if a.to_f64() < 1.0 {
        let z = x * x;
        return x + x * (z * horner(z, c));
    }
    if a.to_f64() > 10.0 {
        return R::select(x.less(R::from_f64(0.0)), -one::<R>(), one());
    }
    let t = (R::from_f64(-2.0) * a).exp();
    let r = one::<R>() - (R::from_f64(2.0) * t) / (one::<R>() + t);
    R::select(x.less(R::from_f64(0.0)), -r, r)
}

/// `gradus_erf`, line by line.
fn gradus_erf<R: Real>(x: R, small: &[R], large: &[R]) -> R {
    let a = x.abs();
    if a.to_f64() < 1.0 {
        return x + x * horner(x * x, small);
    }
    if a.to_f64() > 4.0 {
        return R::select(x.less(R::from_f64(0.0)), -one::<R>(), one());
    }
    let r = one::<R>() - (-horner(a, large)).exp();
    R::select(x.less(R::from_f64(0.0)), -r, r)
}

/// f32 inputs: a dense line, and powers of ten from the subnormals up to the largest f32.
fn inputs() -> impl Iterator<Item = f32> {
    let line = (-300_000..=300_000).map(|i| i as f32 * 4e-5);
    let ladder = (0..40_000).map(|i| 10f32.powf(i as f32 * 0.002 - 45.0)).filter(|x| x.is_finite());
    let edges = [1.0f32, 10.0, 4.0].into_iter().flat_map(|x| [x.next_down(), x, x.next_up()]);
    let rest = [0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, -1.0, -4.0, -10.0];
    line.chain(ladder).chain(edges).chain(rest)
}

/// Derives `granted`: the helper's formula is `approximation` ULP from the function, and f32 evaluation at
/// worst `rounding` ULP from the formula, by the analysis of `Bounded`. Then checks actual f32 against it.
fn derive(
    name: &str,
    granted: f64,
    truth: fn(f64) -> f64,
    in_f64: impl Fn(f64) -> f64,
    in_f32: impl Fn(f32) -> f32,
    in_bounded: impl Fn(Bounded) -> Bounded,
    bound: fn(Bounded) -> Bounded,
) {
    let (mut approximation, mut rounding, mut total) = (0f64, (0f64, 0f32), (0f64, 0f32));
    let (mut share, mut absolute) = (0f64, 0f64);
    for x in inputs() {
        let wide = f64::from(x);
        let exact = truth(wide);
        let observed = f64::from(in_f32(x));
        let limit = bound(Bounded::exact(wide));
        let used = limit.share(observed);
        assert!(used <= 1.0, "gradus_{name}({x}) = {observed} is outside {limit:?}");
        (share, absolute) = (share.max(used), absolute.max((observed - exact).abs()));
        let (fit, round) = ((in_f64(wide) - exact).abs(), in_bounded(Bounded::exact(wide)).error);
        assert!(fit + round <= limit.error, "{name}({x}) needs {fit} + {round}, granted {limit:?}");
        // Below, flushes and the spacing of subnormals outweigh what is relative; `limit` has them too.
        if exact.abs() > 1e-35 {
            let (fit, round) = (fit / exact.abs() / U, round / exact.abs() / U);
            approximation = approximation.max(fit);
            if round > rounding.0 {
                rounding = (round, x);
            }
            if fit + round > total.0 {
                total = (fit + round, x);
            }
        }
    }
    println!(
        "{name}: approximation {approximation:.4} ULP, rounding at worst {:.3} at {}, together {:.3} at {} \
         of {granted}; f32 here: absolute error {absolute:.2e}, worst share {share:.3}",
        rounding.0, rounding.1, total.0, total.1
    );
    assert!(total.0 <= granted, "{name} needs {} ULP at {}", total.0, total.1);
    assert!(total.0 > 0.8 * granted, "{name} could be granted less");
    assert!(absolute <= 4e-7 && share > 0.05);
}

#[test]
fn tanh_bound_is_approximation_plus_rounding() {
    let (wide, single, bounded) =
        (coefficients::<f64>("TANH"), coefficients::<f32>("TANH"), coefficients("TANH"));
    derive(
        "tanh",
        TANH_ULPS,
        f64::tanh,
        |x| gradus_tanh(x, &wide),
        |x| gradus_tanh(x, &single),
        |x| gradus_tanh(x, &bounded),
        <Bounded as Real>::tanh,
    );
}

#[test]
fn erf_bound_is_approximation_plus_rounding() {
    let (wide, single) = (["ERF", "ERFC"].map(coefficients::<f64>), ["ERF", "ERFC"].map(coefficients::<f32>));
    let bounded = ["ERF", "ERFC"].map(coefficients::<Bounded>);
    derive(
        "erf",
        ERF_ULPS,
        libm::erf,
        |x| gradus_erf(x, &wide[0], &wide[1]),
        |x| gradus_erf(x, &single[0], &single[1]),
        |x| gradus_erf(x, &bounded[0], &bounded[1]),
        <Bounded as Real>::erf,
    );
}

#[test]
fn small_arguments_keep_their_relative_accuracy() {
    let (tanh, erf) = (coefficients::<f32>("TANH"), coefficients::<f32>("ERF"));
    for x in [1e-3f32, -1e-3, 1e-10, 3e-38] {
        let wide = f64::from(x);
        assert!((f64::from(gradus_tanh(x, &tanh)) / wide.tanh() - 1.0).abs() < 1.5 * U);
        assert!((f64::from(gradus_erf(x, &erf, &erf)) / libm::erf(wide) - 1.0).abs() < 1.5 * U);
    }
}

#[test]
fn the_bound_in_use_is_the_one_derived() {
    let x = Bounded::exact(0.5);
    for (bound, ulps) in [(Real::tanh(x), TANH_ULPS), (Real::erf(x), ERF_ULPS)] {
        let granted = bound.error / bound.value / U;
        assert!((granted / ulps - 1.0).abs() < 1e-5, "{granted}");
    }
}

#[test]
fn nans_and_huge_arguments_are_handled() {
    let (tanh, small, large) =
        (coefficients::<f32>("TANH"), coefficients::<f32>("ERF"), coefficients::<f32>("ERFC"));
    assert!(gradus_tanh(f32::NAN, &tanh).is_nan() && gradus_erf(f32::NAN, &small, &large).is_nan());
    for x in [f32::MAX, f32::INFINITY, 88.0] {
        assert_eq!((gradus_tanh(x, &tanh), gradus_tanh(-x, &tanh)), (1.0, -1.0));
        assert_eq!((gradus_erf(x, &small, &large), gradus_erf(-x, &small, &large)), (1.0, -1.0));
    }
}
