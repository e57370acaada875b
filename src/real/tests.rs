//! The bounds hold, and they are not vacuous.
//!
//! What is measured against a bound is always f32 arithmetic: as the processor rounds it, or rounded up,
//! down, away from zero or flushed, as WGSL also allows.

use super::{Bounded, Real};

mod functions;
mod reductions;
mod special;

/// splitmix64, enough randomness for tests and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Uniform in [low, high].
    fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 / ((1u64 << 53) - 1) as f64)
    }
    /// A finite f32 of any size and sign, subnormals and zeros included.
    fn any(&mut self) -> f32 {
        loop {
            let x = match self.next() % 8 {
                0 => {
                    [0.0, 1.0, -1.0, f32::MIN_POSITIVE, f32::MAX, 1e-40, 0.5, 2.0][(self.next() % 8) as usize]
                }
                1..4 => f32::from_bits(self.next() as u32),
                _ => self.within(-8.0, 8.0) as f32,
            };
            if x.is_finite() {
                return x;
            }
        }
    }
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}

/// An f32 within the bound, often at its very end.
fn pick(random: &mut Random, x: Bounded) -> f32 {
    let (low, high) = (x.value - x.error, x.value + x.error);
    let candidate = match random.next() % 4 {
        0 => low as f32,
        1 => high as f32,
        _ => random.within(low, high) as f32,
    };
    // Rounding to f32 may have stepped outside; the ends themselves seldom are f32.
    [candidate, candidate.next_up(), candidate.next_down()]
        .into_iter()
        .find(|c| x.contains(f64::from(*c)))
        .unwrap_or(x.value as f32)
}

#[test]
fn share_measures_distance_in_bounds() {
    assert_eq!(Bounded::new(1.0, 0.5).share(1.25), 0.5);
    assert_eq!(Bounded::exact(1.0).share(1.0), 0.0);
    assert_eq!(Bounded::exact(1.0).share(1.5), f64::INFINITY);
    assert_eq!(Bounded::new(1.0, 0.5).share(f64::NAN), f64::INFINITY);
    assert_eq!(Bounded::new(1.0, 0.5).share(f64::INFINITY), f64::INFINITY);
    assert_eq!(Bounded::new(1.0, f64::INFINITY).share(f64::INFINITY), 0.0);
    assert_eq!(Bounded::new(1.0, f64::INFINITY).share(f64::NAN), f64::INFINITY);
    assert_eq!(Bounded::exact(f64::NAN).share(f64::NAN), 0.0);
    assert!(Bounded::new(1.0, 0.5).contains(1.5) && !Bounded::new(1.0, 0.5).contains(1.500_001));
    assert!(Bounded { value: f64::NAN, error: 0.0 }.share(1.0).is_infinite());
}

#[test]
fn what_f32_cannot_hold_is_vacuous() {
    for x in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 3.5e38] {
        assert!(Bounded::exact(x).is_vacuous() && Bounded::from_f64(x).is_vacuous(), "{x}");
    }
    assert!(!Bounded::exact(f64::from(f32::MAX)).is_vacuous());
    assert!((Bounded::exact(2e38) + Bounded::exact(2e38)).is_vacuous());
    assert!(Bounded::new(1.0, -1.0).is_vacuous() && Bounded::new(1.0, f64::NAN).is_vacuous());
    // Cancels in this order, overflows in another.
    let terms = [3e38, 3e38, -3e38, -3e38].map(Bounded::exact);
    assert!(Bounded::sum(terms).is_vacuous());
}

#[test]
fn literals_carry_their_rounding() {
    for exact in [0.0, 1.0, -3.0, 0.5, 16_777_216.0, 0.75] {
        assert_eq!(Bounded::from_f64(exact), Bounded::exact(exact));
    }
    for inexact in [0.1, -0.1, 1.0 / 3.0, 1e-3, 16_777_217.0, 1e-40, 1e-50, std::f64::consts::PI] {
        let x = Bounded::from_f64(inexact);
        let near = inexact as f32;
        assert!(x.error > 0.0 && x.error <= (inexact.abs() / 8_388_608.0).max(1.5e-45), "{x:?}");
        let other = if f64::from(near) < inexact { near.next_up() } else { near.next_down() };
        assert!(x.contains(f64::from(near)) && x.contains(f64::from(other)));
    }
}

#[test]
fn uncertain_comparisons_cover_both_branches() {
    let (x, y) = (Bounded::new(1.0, 0.1), Bounded::new(1.05, 0.0));
    let mask = x.less(y);
    assert_eq!((mask.value, mask.error), (1.0, 1.0));
    let result = Bounded::select(mask, Bounded::exact(5.0), Bounded::new(-3.0, 0.5));
    assert!(result.value == 5.0 && result.contains(5.0) && result.contains(-3.5) && !result.contains(-3.6));
    assert_eq!(x.equal(y), Bounded::new(0.0, 1.0));
    assert_eq!(Bounded::exact(1.0).equal(Bounded::exact(1.0)), Bounded::exact(1.0));
    // At the very ends the two may be equal, so that `less` is uncertain too.
    assert_eq!(Bounded::new(1.0, 0.25).less(Bounded::new(1.5, 0.25)).error, 1.0);
    // A subnormal may be flushed, and then compares equal to zero.
    assert_eq!(Bounded::exact(0.0).less(Bounded::exact(1e-40)).error, 1.0);
    // A NaN compares as it likes.
    assert_eq!(Bounded::exact(f64::NAN).less(Bounded::exact(1.0)).error, 1.0);
}

#[test]
fn certain_masks_take_their_branch_exactly() {
    let wild = Bounded::new(0.0, f64::INFINITY);
    let branch = Bounded::new(2.0, 0.125);
    assert_eq!(Bounded::select(Bounded::exact(1.0), branch, wild), branch);
    assert_eq!(Bounded::select(Bounded::exact(0.0), wild, branch), branch);
    // A quotient of certain masks carries an error, and still is certainly not zero.
    let quotient = Bounded::exact(1.0) / Bounded::exact(1.0);
    assert!(quotient.error > 0.0);
    assert_eq!(Bounded::select(quotient, branch, wild), branch);
    assert!(Bounded::select(Bounded::new(1.0, 1.0), branch, wild).is_vacuous());
    assert!(Bounded::select(Bounded::new(1.0, 1.0), branch, Bounded::exact(f64::NAN)).is_vacuous());
}

#[test]
fn domains_end_in_infinite_errors() {
    let around_zero = Bounded::new(0.1, 0.2);
    let one = Bounded::exact(1.0);
    assert!((one / around_zero).is_vacuous() && (one / Bounded::exact(0.0)).is_vacuous());
    assert!((one / Bounded::exact(1.8e38)).is_vacuous(), "beyond 2^126");
    assert!(around_zero.ln().is_vacuous() && around_zero.rsqrt().is_vacuous());
    assert!(Bounded::exact(-1.0).sqrt().is_vacuous());
    assert!(Bounded::exact(4.0).sin().is_vacuous() && Bounded::new(3.1, 0.1).cos().is_vacuous());
    assert!(Bounded::exact(89.0).exp().is_vacuous());
    // What may be a NaN stays one through functions that would bound any number.
    let wild = Bounded::new(0.0, f64::INFINITY);
    assert!(wild.tanh().is_vacuous() && wild.erf().is_vacuous() && wild.max(one).is_vacuous());
    assert!((wild * Bounded::exact(0.0)).is_vacuous() && wild.floor().is_vacuous());
    assert!(Bounded::exact(f64::NAN).max(one).is_vacuous() && one.min(Bounded::exact(f64::NAN)).is_vacuous());
    // The root of something near zero is known up to the root of its error.
    let root = Bounded::new(0.0, 1e-8).sqrt();
    assert!(root.error >= 1e-4 && root.error < 1.01e-4);
}

#[test]
fn subnormals_may_be_flushed() {
    let tiny = Bounded::exact(f64::from(f32::MIN_POSITIVE));
    let half = tiny * Bounded::exact(0.5);
    assert!(half.contains(0.0) && half.contains(half.value));
    let difference = tiny * Bounded::exact(1.5) - tiny;
    assert!(difference.contains(0.0));
    // A flushed input can move a large result.
    let product = Bounded::exact(1e-39) * Bounded::exact(1e38);
    assert!(product.contains(0.0) && product.contains(product.value));
    assert!((-Bounded::exact(1e-40)).contains(0.0) && Bounded::exact(-1e-40).floor().contains(0.0));
    assert!(Bounded::sum([1.5 * tiny.value, -tiny.value].map(Bounded::exact)).contains(0.0));
    // Zeros stay zeros, and normals exact.
    let zero = Bounded::exact(0.0);
    assert_eq!(zero + zero, zero);
    assert_eq!(zero * Bounded::exact(3.0), zero);
    assert_eq!(-tiny, Bounded::exact(-tiny.value));
}

#[test]
fn zeros_and_powers_of_two_round_nothing() {
    let x = Bounded::new(0.3, 1e-3);
    let zero = Bounded::exact(0.0);
    assert_eq!((x + zero, zero + x, x - zero), (x, x, x));
    assert_eq!(zero - x, -x);
    assert_eq!(Bounded::exact(0.3) - Bounded::exact(0.3), zero);
    let third = Bounded::exact(f64::from(1.0f32 / 3.0));
    for scale in [1.0, -1.0, 2.0, 0.5, 1024.0, 2f64.powi(-100)] {
        let scaled = third * Bounded::exact(scale);
        assert_eq!((scaled.value, scaled.error), (third.value * scale, 0.0));
    }
    assert!((third * Bounded::exact(3.0)).error > 0.0 && (third * Bounded::new(2.0, 1e-9)).error > 1e-10);
    // Unless the product is subnormal, where digits fall off its end.
    assert!((third * Bounded::exact(2f64.powi(-126))).error > 0.0);
    assert!((third * Bounded::new(f64::from(f32::MAX), 0.0)).contains(f64::from(1.0f32 / 3.0 * f32::MAX)));
}
