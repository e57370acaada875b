//! What f16 storage does to a value.

use super::Bounded;
use half::f16;

/// The smallest normal f16, 2⁻¹⁴: below it a conversion may flush.
const NORMAL: f64 = 1.0 / (1 << 14) as f64;
/// The largest f16.
const MAX: f64 = 65504.0;

/// The largest f16 not above `x`, which is within f16's range.
fn below(x: f64) -> f64 {
    let nearest = f16::from_f64(x);
    if nearest.to_f64() <= x {
        return nearest.to_f64();
    }
    let bits = nearest.to_bits();
    f16::from_bits(match bits {
        0x0000 | 0x8000 => 0x8001,
        positive if positive < 0x8000 => positive - 1,
        negative => negative + 1,
    })
    .to_f64()
}

impl Bounded {
    /// The value after a store to f16: anything between the f16 next below what was computed and the one
    /// next above. An f16 that is stored stays what it is.
    ///
    /// WGSL, "Floating Point Conversion": a value "between two adjacent finite values representable in the
    /// destination type" becomes "one of those two values. WGSL does not specify whether the larger or
    /// smaller representable value is chosen". So the error grows by up to a whole ULP, not half of one.
    /// Beyond 65504 the error is infinite: an infinity need not be honoured. Subnormals, below 2⁻¹⁴, may be
    /// flushed, here and when they are read back. Reading a normal f16 is exact.
    pub fn stored_as_f16(self) -> Self {
        let (low, high) = (self.value - self.error, self.value + self.error);
        // A NaN on either side fails the comparison.
        let inside = low >= -MAX && high <= MAX;
        if !inside {
            return Self { value: self.value, error: f64::INFINITY };
        }
        let error = (-below(-high) - self.value).max(self.value - below(low));
        let flushed = if self.lowest_magnitude() < NORMAL { self.value.abs() } else { 0.0 };
        Self::new(self.value, error.max(flushed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_is_stored_as_itself() {
        for bits in 0..=u16::MAX {
            let x = f16::from_bits(bits);
            if !x.is_finite() {
                continue;
            }
            let stored = Bounded::exact(x.to_f64()).stored_as_f16();
            let flushable = if x.to_f64().abs() < NORMAL { x.to_f64().abs() } else { 0.0 };
            assert_eq!((stored.value, stored.error), (x.to_f64(), flushable), "{x}");
        }
    }

    #[test]
    fn between_two_neighbours_both_are_within_the_bound_and_no_third() {
        for bits in 0..0x7bffu16 {
            let (low, high) = (f16::from_bits(bits).to_f64(), f16::from_bits(bits + 1).to_f64());
            for share in [0.01, 0.5, 0.7] {
                for sign in [1.0, -1.0] {
                    let x = sign * (low + share * (high - low));
                    let stored = Bounded::exact(x).stored_as_f16();
                    assert!(stored.contains(sign * low) && stored.contains(sign * high), "{x:e}");
                    assert!(x.abs() < NORMAL || stored.error <= high - low, "{x:e}");
                }
            }
        }
    }

    #[test]
    fn an_uncertain_value_may_round_from_either_end() {
        // f16 around 1 are 2⁻¹⁰ apart above it and 2⁻¹¹ below.
        let stored = Bounded::new(1.0, 1e-5).stored_as_f16();
        assert!(stored.contains(1.0 + 1.0 / 1024.0) && stored.contains(1.0 - 1.0 / 2048.0));
        assert!(!stored.contains(1.0 + 2.0 / 1024.0));
    }

    #[test]
    fn beyond_the_range_nothing_is_promised() {
        assert!(!Bounded::exact(65504.0).stored_as_f16().is_vacuous());
        assert!(Bounded::exact(65505.0).stored_as_f16().is_vacuous());
        assert!(Bounded::new(-65504.0, 1.0).stored_as_f16().is_vacuous());
        assert!(Bounded::exact(f64::NAN).stored_as_f16().is_vacuous());
    }
}
