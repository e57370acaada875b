//! Every primitive, in f32 against its bound, over grids and over random inputs with errors of their own.

use super::{Bounded, Random, Real, pick};

/// One function under test in two readings, and where its grid lies.
struct Unary {
    name: &'static str,
    f32: fn(f32) -> f32,
    bounded: fn(Bounded) -> Bounded,
    low: f64,
    high: f64,
}

macro_rules! unary {
    ($($name:ident $low:expr, $high:expr;)*) => {
        [$(Unary {
            name: stringify!($name),
            f32: <f32 as Real>::$name,
            bounded: <Bounded as Real>::$name,
            low: $low,
            high: $high,
        },)*]
    };
}

fn unaries() -> [Unary; 10] {
    unary! {
        exp -87.0, 88.0;
        ln 1e-6, 8.0;
        sqrt 1e-6, 100.0;
        rsqrt 1e-6, 100.0;
        tanh -12.0, 12.0;
        erf -5.0, 5.0;
        sin -3.125, 3.125;
        cos -3.125, 3.125;
        abs -4.0, 4.0;
        floor -4.0, 4.0;
    }
}

type Binary = (&'static str, fn(f32, f32) -> f32, fn(Bounded, Bounded) -> Bounded);

fn binaries() -> [Binary; 8] {
    [
        ("add", |a, b| a + b, |a, b| a + b),
        ("sub", |a, b| a - b, |a, b| a - b),
        ("mul", |a, b| a * b, |a, b| a * b),
        ("div", |a, b| a / b, |a, b| a / b),
        ("max", <f32 as Real>::max, <Bounded as Real>::max),
        ("min", <f32 as Real>::min, <Bounded as Real>::min),
        ("less", <f32 as Real>::less, <Bounded as Real>::less),
        ("equal", <f32 as Real>::equal, <Bounded as Real>::equal),
    ]
}

#[test]
fn unary_functions_stay_within_their_bounds_on_a_grid() {
    for Unary { name, f32, bounded, low, high } in unaries() {
        let mut worst: f64 = 0.0;
        for i in 0..=100_000 {
            let x = (low + (high - low) * f64::from(i) / 100_000.0) as f32;
            let bound = bounded(Bounded::exact(f64::from(x)));
            assert!(!bound.is_vacuous(), "{name}({x})");
            let share = bound.share(f64::from(f32(x)));
            assert!(share <= 1.0, "{name}({x}) = {} is outside {bound:?}", f32(x));
            worst = worst.max(share);
        }
        println!("worst share of {name}: {worst:.4}");
        // |x| and floor are exact; the others round and must show it.
        assert_eq!(worst > 0.0, !["abs", "floor"].contains(&name), "{name}");
    }
}

#[test]
fn binary_functions_stay_within_their_bounds_on_a_grid() {
    for (name, f32, bounded) in binaries() {
        let mut worst: f64 = 0.0;
        let grid = |i: u32| (i as f32 - 150.0) * 0.013 + 0.0031;
        for (x, y) in (0..300).flat_map(|i| (0..300).map(move |j| (grid(i), grid(j)))) {
            let bound = bounded(Bounded::exact(f64::from(x)), Bounded::exact(f64::from(y)));
            let share = bound.share(f64::from(f32(x, y)));
            assert!(share <= 1.0, "{name}({x}, {y}) = {} is outside {bound:?}", f32(x, y));
            worst = worst.max(share);
        }
        println!("worst share of {name}: {worst:.4}");
        assert_eq!(worst > 0.0, ["add", "sub", "mul", "div"].contains(&name), "{name}");
    }
}

/// A random number with a random error: none, small, or wide.
fn uncertain(random: &mut Random) -> Bounded {
    let value = f64::from(random.any());
    let error = match random.next() % 4 {
        0 => 0.0,
        1 => value.abs() * 1e-6,
        2 => value.abs() * random.within(0.0, 1.5),
        _ => random.within(0.0, 1.0),
    };
    Bounded::new(value, error)
}

fn well_formed(x: Bounded) -> bool {
    x.error >= 0.0 && (x.is_vacuous() || x.value.abs() + x.error <= f64::from(f32::MAX))
}

#[test]
fn errors_of_inputs_are_covered() {
    let mut random = Random(7);
    let (mut checked, mut vacuous) = (0, 0);
    for _ in 0..200_000 {
        let (a, b) = (uncertain(&mut random), uncertain(&mut random));
        let (x, y) = (pick(&mut random, a), pick(&mut random, b));
        let mut check = |name: &str, bound: Bounded, observed: f32| {
            assert!(well_formed(bound), "{name}({a:?}, {b:?}) = {bound:?}");
            vacuous += u32::from(bound.is_vacuous());
            // Roots of the negative part of an interval are the reference's business: see `Bounded::sqrt`.
            if bound.is_vacuous() || (name == "sqrt" && x < 0.0) {
                return;
            }
            checked += 1;
            // `select` alone must preserve subnormals.
            let flushed = if observed.is_subnormal() && name != "select" { 0.0 } else { observed };
            for observed in [observed, flushed] {
                let inside = bound.contains(f64::from(observed));
                assert!(inside, "{name}({x}, {y}) = {observed} is outside {bound:?} of {a:?}, {b:?}");
            }
        };
        for Unary { name, f32, bounded, .. } in unaries() {
            check(name, bounded(a), f32(x));
        }
        for (name, f32, bounded) in binaries() {
            check(name, bounded(a, b), f32(x, y));
        }
        check("neg", -a, -x);
        check("select", Bounded::select(a, b, a), f32::select(x, y, x));
        check("sum", Bounded::sum([a, b, a]), f32::sum([x, y, x]));
        check("dot", Bounded::dot([(a, b), (b, b)]), f32::dot([(x, y), (y, y)]));
    }
    println!("{checked} results checked, {vacuous} bounds infinite");
    assert!(checked > 2 * vacuous, "{checked} {vacuous}");
}

/// A random program over both readings at once: whatever is computed, the f32 stays in the bound.
#[test]
fn long_random_programs_stay_within_their_bounds() {
    let mut random = Random(11);
    let (mut finite, mut worst) = (0, 0f64);
    for _ in 0..20_000 {
        let mut stack: Vec<(f32, Bounded)> = (0..4)
            .map(|_| {
                let x = random.within(-2.0, 2.0) as f32;
                (x, Bounded::exact(f64::from(x)))
            })
            .collect();
        for _ in 0..8 {
            let (x, a) = stack[random.next() as usize % stack.len()];
            let (y, b) = stack[random.next() as usize % stack.len()];
            let next = if random.next().is_multiple_of(2) {
                let Unary { f32, bounded, .. } = unaries()[random.next() as usize % 10];
                (f32(x), bounded(a))
            } else {
                let (_, f32, bounded) = binaries()[random.next() as usize % 8];
                (f32(x, y), bounded(a, b))
            };
            assert!(well_formed(next.1), "{:?}", next.1);
            // A root of what came out negative is outside the contract.
            if next.1.is_vacuous() || next.0.is_nan() {
                continue;
            }
            let share = next.1.share(f64::from(next.0));
            assert!(share <= 1.0, "{} is outside {:?}", next.0, next.1);
            (finite, worst) = (finite + 1, worst.max(share));
            stack.push(next);
        }
    }
    println!("{finite} steps of random programs, worst share {worst:.3}");
    assert!(finite > 50_000 && worst > 0.1);
}

#[test]
fn libm_erff_is_within_one_ulp_of_erf() {
    let mut worst: f64 = 0.0;
    for i in -500_000..=500_000 {
        let x = i as f32 * 1e-5;
        let truth = libm::erf(f64::from(x));
        if truth != 0.0 {
            let ulp = f64::from((truth.abs() as f32).next_up() - truth.abs() as f32);
            worst = worst.max((f64::from(<f32 as Real>::erf(x)) - truth).abs() / ulp);
        }
    }
    println!("libm::erff: {worst:.3} ULP");
    assert!(worst < 1.0);
}
