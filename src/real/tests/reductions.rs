//! Sums and dot products in every order anybody might choose.

use super::{Bounded, Random, Real};

/// Rounds an exact f64 result to f32 the way a device might.
#[derive(Clone, Copy, Debug)]
enum Rounding {
    Nearest,
    Up,
    Down,
    AwayFromZero,
}

impl Rounding {
    const ALL: [Self; 4] = [Self::Nearest, Self::Up, Self::Down, Self::AwayFromZero];

    fn round(self, exact: f64) -> f32 {
        let near = exact as f32;
        let (low, high) = match f64::from(near) {
            x if x < exact => (near, near.next_up()),
            x if x > exact => (near.next_down(), near),
            _ => return near,
        };
        match self {
            Self::Nearest => near,
            Self::Up => high,
            Self::Down => low,
            Self::AwayFromZero if exact > 0.0 => high,
            Self::AwayFromZero => low,
        }
    }

    fn add(self, a: f32, b: f32) -> f32 {
        self.round(f64::from(a) + f64::from(b))
    }
}

fn serial(terms: &[f32], rounding: Rounding) -> f32 {
    terms.iter().fold(0.0, |sum, &term| rounding.add(sum, term))
}

fn pairwise(terms: &[f32], rounding: Rounding) -> f32 {
    match terms {
        [] => 0.0,
        [one] => *one,
        _ => {
            let (left, right) = terms.split_at(terms.len() / 2);
            rounding.add(pairwise(left, rounding), pairwise(right, rounding))
        }
    }
}

/// The worst share of the bound over many orders, of serial and pairwise sums and of the CPU device's own.
fn worst_over_orders(terms: &[f32], random: &mut Random) -> f64 {
    let bound = Bounded::sum(terms.iter().map(|&t| Bounded::exact(f64::from(t))));
    let mut worst: f64 = 0.0;
    for order in 0..16 {
        let mut terms = terms.to_vec();
        match order {
            0 => {}
            1 => terms.reverse(),
            2 => terms.sort_by(f32::total_cmp),
            3 => terms.sort_by(|a, b| b.total_cmp(a)),
            4 => terms.sort_by(|a, b| a.abs().total_cmp(&b.abs())),
            5 => terms.sort_by(|a, b| b.abs().total_cmp(&a.abs())),
            _ => random.shuffle(&mut terms),
        }
        for rounding in Rounding::ALL {
            for observed in
                [serial(&terms, rounding), pairwise(&terms, rounding), f32::sum(terms.iter().copied())]
            {
                let share = bound.share(f64::from(observed));
                assert!(share <= 1.0, "order {order}, {rounding:?}: {observed} is outside {bound:?}");
                worst = worst.max(share);
            }
        }
    }
    worst
}

#[test]
fn no_order_of_summation_leaves_the_bound() {
    let mut worst: [f64; 4] = [0.0; 4];
    for seed in 0..60 {
        let mut random = Random(seed);
        let n = [1, 2, 3, 17, 64, 257, 1000][seed as usize % 7];
        let mut uniform = |low, high| (0..n).map(|_| random.within(low, high) as f32).collect::<Vec<_>>();
        let positive = uniform(0.0, 1.0);
        let mixed = uniform(-1.0, 1.0);
        // Each huge term is cancelled by another; what remains is small.
        let cancelling = (0..n)
            .map(|i| if i % 2 == 0 { positive[i] * 1e8 } else { -positive[i - 1] * 1e8 + mixed[i] })
            .collect::<Vec<_>>();
        let spread =
            (0..n).map(|i| mixed[i] * 10f32.powi(random.within(-40.0, 20.0) as i32)).collect::<Vec<_>>();
        for (worst, terms) in worst.iter_mut().zip([positive, mixed, cancelling, spread]) {
            *worst = worst.max(worst_over_orders(&terms, &mut random));
        }
    }
    println!(
        "worst share of a sum: positive {:.3}, mixed {:.3}, cancelling {:.3}, spread {:.3}",
        worst[0], worst[1], worst[2], worst[3]
    );
    assert!(worst.iter().all(|&w| w > 0.01), "{worst:?}");
}

#[test]
fn a_device_that_always_rounds_up_comes_near_the_bound() {
    // 1 + 2⁻²³·k small terms, each of which is rounded up to a whole ULP.
    let terms: Vec<f32> = std::iter::once(1.0).chain(std::iter::repeat_n(1e-12, 1000)).collect();
    let bound = Bounded::sum(terms.iter().map(|&t| Bounded::exact(f64::from(t))));
    let share = bound.share(f64::from(serial(&terms, Rounding::Up)));
    println!("share of a sum that always rounds up: {share:.4}");
    assert!((0.99..=1.0).contains(&share));
}

#[test]
fn dot_products_use_a_measurable_share() {
    let mut worst = [0f64; 3];
    for seed in 0..200 {
        let mut random = Random(seed);
        let pairs: Vec<(f32, f32)> =
            (0..512).map(|_| (random.within(-1.0, 1.0) as f32, random.within(-1.0, 1.0) as f32)).collect();
        let bound = Bounded::dot(
            pairs.iter().map(|&(a, b)| (Bounded::exact(f64::from(a)), Bounded::exact(f64::from(b)))),
        );
        let truth = f64::dot(pairs.iter().map(|&(a, b)| (f64::from(a), f64::from(b))));
        assert!((bound.value - truth).abs() <= 1e-12 * bound.error.max(1.0));
        let separate = pairs.iter().fold(0f32, |sum, (a, b)| sum + a * b);
        let fused = pairs.iter().fold(0f32, |sum, (a, b)| a.mul_add(*b, sum));
        for (worst, observed) in worst.iter_mut().zip([separate, fused, f32::dot(pairs)]) {
            let share = bound.share(f64::from(observed));
            assert!(share <= 1.0, "{observed} is outside {bound:?}");
            *worst = worst.max(share);
        }
    }
    println!(
        "worst share of a 512-term dot: serial {:.4}, fused {:.4}, lanes {:.4}",
        worst[0], worst[1], worst[2]
    );
    assert!((0.001..=1.0).contains(&worst[0]), "{worst:?}");
}

#[test]
fn reductions_pass_on_the_errors_of_their_terms() {
    let mut random = Random(1);
    for _ in 0..2000 {
        let n = 1 + random.next() % 40;
        let terms: Vec<(Bounded, Bounded)> = (0..n)
            .map(|_| {
                let mut factor = || {
                    let x = random.within(-2.0, 2.0);
                    let width = random.within(0.0, 0.1);
                    Bounded::new(x, width * width)
                };
                (factor(), factor())
            })
            .collect();
        let drawn: Vec<(f32, f32)> =
            terms.iter().map(|&(a, b)| (super::pick(&mut random, a), super::pick(&mut random, b))).collect();
        let dot = Bounded::dot(terms.iter().copied());
        assert!(dot.contains(f64::from(f32::dot(drawn.iter().copied()))), "{dot:?} {terms:?}");
        let sum = Bounded::sum(terms.iter().map(|t| t.0));
        assert!(sum.contains(f64::from(f32::sum(drawn.iter().map(|d| d.0)))), "{sum:?} {terms:?}");
    }
}

#[test]
fn zeros_and_empty_reductions_are_exact() {
    assert_eq!(Bounded::sum([]), Bounded::exact(0.0));
    assert_eq!(Bounded::dot([]), Bounded::exact(0.0));
    assert_eq!(f32::sum([]), 0.0);
    let (zero, x) = (Bounded::exact(0.0), Bounded::exact(0.1f32.into()));
    assert_eq!(Bounded::sum([zero, x, zero]), x, "one term needs no addition");
    assert_eq!(Bounded::dot([(zero, x), (x, zero)]), zero);
    assert_eq!(Bounded::dot([(x, x), (zero, x)]), Bounded::dot([(x, x)]));
}

#[test]
fn gamma_is_infinite_once_n_u_reaches_one() {
    let one = Bounded::exact(1.0);
    assert!(Bounded::sum(std::iter::repeat_n(one, (1 << 23) + 1)).is_vacuous());
    assert!(!Bounded::sum(std::iter::repeat_n(one, 1 << 22)).is_vacuous());
}

#[test]
fn native_reductions_take_every_term_once() {
    for n in 0..70u32 {
        let expected = f64::from(n * (n + 1) / 2);
        assert_eq!(f64::from(f32::sum((1..=n).map(|i| i as f32))), expected);
        assert_eq!(f64::sum((1..=n).map(f64::from)), expected);
        assert_eq!(f64::dot((1..=n).map(|i| (f64::from(i), 2.0))), 2.0 * expected);
    }
}
