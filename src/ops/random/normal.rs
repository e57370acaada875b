//! Normal numbers out of random words, by integer arithmetic.
//!
//! # Why
//! WGSL lets implementations round either way and fuse multiply and add, so a float computation of a
//! normal number (Box-Muller, a rational approximation of Φ⁻¹) would differ in its last bits from device to
//! device, and a run with noise in it could not be compared across them. Integers leave no freedom.
//!
//! # How
//! The upper bit of a word is the sign. The other 31, m, are the tail probability p = (m + ½)/2³² of
//! (0, ½), and |z| = −Φ⁻¹(p). Leading zeros of m count the octave of p, in which Φ⁻¹ is as smooth as in any
//! other; 5 bits behind the leading one choose one of its 32 segments, and 15 more, t, interpolate a
//! parabola through the segment's ends and middle:
//!
//! |z| ≈ c₀ + (c₁ + c₂·t)·t, t in [0, 1), in units of 2⁻²¹.
//!
//! Bits of m behind these 20 are cut off; the parabola is shifted by half of what they can be worth.
//!
//! # Invariants
//! Products fit into 31 bits, |z| < 2³ into 24 with its fraction, so the conversion to f32 is exact. The
//! error is below 2·10⁻⁶, mostly the cut and the rounding of c₀; tests hold all three.

use std::sync::OnceLock;

/// Octaves of m: 31, and one for m = 0.
const OCTAVES: u32 = 32;
/// Segments of an octave.
const SEGMENTS: u32 = 32;
/// Steps of t in a segment.
const STEPS: i32 = 1 << 15;
/// The unit of z.
pub(super) const UNIT: f64 = 1.0 / (1 << 21) as f64;

/// The normal number of a random word.
pub(super) fn number(word: u32) -> f32 {
    fixed(word) as f32 * UNIT as f32
}

/// The normal number of a random word, in units of 2⁻²¹: the same steps as in `random.wgsl`.
pub(super) fn fixed(word: u32) -> i32 {
    let m = word & 0x7fff_ffff;
    let octave = m.leading_zeros() - 1;
    // Behind the leading one. In two shifts, as one by 32 would be none.
    let rest = m << (octave + 1).min(31) << 1;
    let [c0, c1, c2, _] = table()[(octave * SEGMENTS + (rest >> 27)) as usize];
    let t = (rest >> 12 & 0x7fff) as i32;
    let z = c0 + scaled((c1 + scaled(c2 * t)) * t);
    if word >> 31 == 1 { -z } else { z }
}

/// v / 2¹⁵, to the nearest.
fn scaled(v: i32) -> i32 {
    (v + STEPS / 2) >> 15
}

/// For each segment of each octave c₀, c₁, c₂ and a zero that aligns them.
pub(super) fn table() -> &'static [[i32; 4]] {
    static TABLE: OnceLock<Vec<[i32; 4]>> = OnceLock::new();
    TABLE.get_or_init(|| (0..OCTAVES * SEGMENTS).map(|at| segment(at / SEGMENTS, at % SEGMENTS)).collect())
}

fn segment(octave: u32, segment: u32) -> [i32; 4] {
    let Some(bits) = 30u32.checked_sub(octave) else {
        // m = 0: a point.
        return [(tail_quantile(0.5 / 2f64.powi(32)) / UNIT).round() as i32, 0, 0, 0];
    };
    // m = 2^bits·(1 + x) with x in steps of 2⁻²⁰ or, where m has fewer bits, coarser ones: half a step
    // stands for the cut-off bits and for the ½ of p.
    let half_step = 0.5f64.max(2f64.powi(19 - bits as i32));
    let z = |t: f64| {
        let x = (f64::from(segment) * f64::from(STEPS) + t * f64::from(STEPS) + half_step) / 2f64.powi(20);
        tail_quantile(2f64.powi(bits as i32 - 32) * (1.0 + x)) / UNIT
    };
    let (start, middle, end) = (z(0.0), z(0.5), z(1.0));
    let curvature = 2.0 * (start + end - 2.0 * middle);
    [start, end - start - curvature, curvature, 0.0].map(|c| c.round() as i32)
}

/// The z at which Φ(−z) = p, by bisection: slow, but the same bits on every host, as libm is written in
/// plain operations.
pub(super) fn tail_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-1.0, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if 0.5 * libm::erfc(middle * std::f64::consts::FRAC_1_SQRT_2) > p {
            low = middle
        } else {
            high = middle
        }
    }
    0.5 * (low + high)
}
