//! Philox 4x32-10, the counter-based generator behind every random number in gradus.
//!
//! A counter-based generator has no state to carry: block `c` of the stream named `key` is a function of
//! `(c, key)`, so the CPU, a thousand GPU lanes and a second run all get the same bits in whatever order
//! they ask.
//!
//! Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The test
//! holds the known answers published with the authors' Random123 library.

/// The multipliers of the two lanes of a round.
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];

/// What the key gains after each round: the golden ratio and √3 − 1, as fractions of 2³² (a Weyl sequence).
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Four random words: block `counter` of the stream `key`.
///
/// A bijection of the counter for each key; passes BigCrush. Ten rounds, as the paper recommends.
///
/// ```
/// use gradus::ops::random::philox::philox4x32_10;
/// assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
/// ```
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut c, mut k) = (counter, key);
    for _ in 0..10 {
        let (hi0, lo0) = mul_wide(MULTIPLIERS[0], c[0]);
        let (hi1, lo1) = mul_wide(MULTIPLIERS[1], c[2]);
        c = [hi1 ^ c[1] ^ k[0], lo1, hi0 ^ c[3] ^ k[1], lo0];
        k[0] = k[0].wrapping_add(WEYL[0]);
        k[1] = k[1].wrapping_add(WEYL[1]);
    }
    c
}

/// The high and the low word of a 32 × 32 bit product.
fn mul_wide(a: u32, b: u32) -> (u32, u32) {
    let product = u64::from(a) * u64::from(b);
    ((product >> 32) as u32, product as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers_of_random123() {
        for (counter, key, expected) in [
            ([0; 4], [0; 2], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            (
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xa4093822, 0x299f31d0],
                [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
            ),
        ] {
            assert_eq!(philox4x32_10(counter, key), expected, "counter {counter:08x?}, key {key:08x?}");
        }
    }
}
