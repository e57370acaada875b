//! Which examples go together: the shuffle of an epoch, cut into batches.

use crate::error::{Error, Result};
use crate::ops::random::philox::philox4x32_10;

/// The last word of the Philox counters used here ("data" in ASCII), so that a shuffle shares no block
/// with the random numbers that anything else draws from the same seed.
const DOMAIN: u32 = 0x6461_7461;

/// Cuts `len` examples into batches, in another order each epoch.
///
/// The order is a function of (seed, epoch, len) and of nothing else: a run resumed at epoch 5 sees the
/// batches that an uninterrupted one saw there, on any machine.
///
/// ```
/// use gradus::data::Batches;
/// # fn main() -> gradus::Result<()> {
/// let batches = Batches::new(10, 4, 7)?;
/// let sizes: Vec<usize> = batches.epoch(0).map(|batch| batch.len()).collect();
/// assert_eq!(sizes, [4, 4, 2]);
/// assert_eq!(batches.drop_last()?.epoch(0).count(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    len: u32,
    batch: usize,
    seed: u64,
    drop_last: bool,
    shuffled: bool,
}

impl Batches {
    /// Batches of `batch` examples out of `len`; the last of an epoch is smaller where they do not divide.
    ///
    /// Errors: [`Error::Argument`] where either is zero, or `len` is more than `u32::MAX`.
    pub fn new(len: usize, batch: usize, seed: u64) -> Result<Self> {
        let argument = |given: String, remedy| Err(Error::argument("Batches::new", given, remedy));
        if len == 0 || batch == 0 {
            return argument(format!("batches of {batch} out of {len} examples"), "Both must be at least 1");
        }
        let Ok(len) = u32::try_from(len) else {
            return argument(format!("{len} examples"), "Indices are 32-bit; divide the data set");
        };
        Ok(Batches { len, batch, seed, drop_last: false, shuffled: true })
    }

    /// Leaves out the smaller last batch of each epoch, so that all batches have one size.
    ///
    /// Errors: [`Error::Argument`] where no batch would remain.
    pub fn drop_last(self) -> Result<Self> {
        if (self.len as usize) < self.batch {
            return Err(Error::argument(
                "Batches::drop_last",
                format!("batches of {} out of {} examples", self.batch, self.len),
                "No batch would remain; take smaller batches",
            ));
        }
        Ok(Batches { drop_last: true, ..self })
    }

    /// Keeps the examples in the order of the data set, for evaluation.
    pub fn in_order(self) -> Self {
        Batches { shuffled: false, ..self }
    }

    /// How many batches an epoch has.
    pub fn per_epoch(&self) -> usize {
        let len = self.len as usize;
        if self.drop_last { len / self.batch } else { len.div_ceil(self.batch) }
    }

    /// The batches of one epoch: indices of examples, each at most once.
    ///
    /// Takes 4 bytes an example.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        let mut order: Vec<u32> = (0..self.len).collect();
        if self.shuffled {
            shuffle(&mut order, &mut Words::new(self.seed, epoch));
        }
        let end = if self.drop_last { self.per_epoch() * self.batch } else { order.len() };
        Epoch { order, at: 0, end, batch: self.batch }
    }
}

/// The batches of one epoch; see [`Batches::epoch`].
#[derive(Clone, Debug)]
pub struct Epoch {
    order: Vec<u32>,
    at: usize,
    end: usize,
    batch: usize,
}

impl Iterator for Epoch {
    type Item = Vec<u32>;

    fn next(&mut self) -> Option<Vec<u32>> {
        let size = self.batch.min(self.end - self.at);
        let batch = &self.order[self.at..self.at + size];
        self.at += size;
        (size > 0).then(|| batch.to_vec())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.end - self.at).div_ceil(self.batch);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Epoch {}

/// Fisher and Yates: each of the n! orders with the same probability.
fn shuffle(order: &mut [u32], words: &mut Words) {
    for i in (1..order.len()).rev() {
        // `order` has at most u32::MAX entries, so i + 1 fits.
        let j = below(i as u32 + 1, || words.next());
        order.swap(i, j as usize);
    }
}

/// A uniform integer in `0..n`, n > 0, from uniform words.
///
/// The high word of x·n would favour some results by one part in 2³²/n; drawing again when the low word
/// is less than 2³² mod n leaves the same number of x for each. Lemire, "Fast random integer generation
/// in an interval", ACM TOMACS 2019.
pub(super) fn below(n: u32, mut word: impl FnMut() -> u32) -> u32 {
    let threshold = n.wrapping_neg() % n;
    loop {
        let product = u64::from(word()) * u64::from(n);
        if product as u32 >= threshold {
            return (product >> 32) as u32;
        }
    }
}

/// The random words of one epoch or step, one after the other.
pub(super) struct Words {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Words {
    pub fn new(seed: u64, epoch: u64) -> Self {
        let halves = |x: u64| [x as u32, (x >> 32) as u32];
        let [low, high] = halves(epoch);
        Words { key: halves(seed), counter: [0, low, high, DOMAIN], block: [0; 4], used: 4 }
    }

    pub fn next(&mut self) -> u32 {
        if self.used == self.block.len() {
            self.block = philox4x32_10(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(batches: &Batches, epoch: u64) -> Vec<u32> {
        batches.epoch(epoch).flatten().collect()
    }

    proptest! {
        #[test]
        fn an_epoch_is_a_permutation(len in 1usize..300, batch in 1usize..400, seed: u64, epoch: u64) {
            let batches = Batches::new(len, batch, seed).unwrap();
            prop_assert_eq!(batches.epoch(epoch).len(), batches.per_epoch());
            prop_assert_eq!(batches.epoch(epoch).count(), batches.per_epoch());
            let mut seen = order(&batches, epoch);
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..len as u32).collect::<Vec<_>>());
        }

        #[test]
        fn drop_last_leaves_whole_batches_and_the_same_order(len in 1usize..300, batch in 1usize..300, seed: u64) {
            let batches = Batches::new(len, batch, seed).unwrap();
            match batches.drop_last() {
                Ok(whole) => {
                    prop_assert!(whole.epoch(0).all(|b| b.len() == batch));
                    prop_assert_eq!(whole.epoch(0).count(), len / batch);
                    let kept = order(&whole, 0);
                    prop_assert_eq!(&kept[..], &order(&batches, 0)[..kept.len()]);
                }
                Err(error) => {
                    let refused = matches!(error, Error::Argument { .. });
                    prop_assert!(refused && len < batch, "{}", error);
                }
            }
        }
    }

    #[test]
    fn the_order_is_a_function_of_seed_and_epoch() {
        let at = |seed, epoch| order(&Batches::new(100, 8, seed).unwrap(), epoch);
        assert_eq!(at(7, 3), at(7, 3));
        // The high halves count too.
        let others = [at(7, 3), at(7, 4), at(8, 3), at(7 + (1 << 32), 3), at(7, 3 + (1 << 32))];
        for (i, a) in others.iter().enumerate() {
            assert!(others[..i].iter().all(|b| a != b), "{i}");
        }
        let small = Batches::new(8, 8, 7).unwrap();
        assert_eq!(order(&small, 0), EIGHT, "the order is part of what a seed promises");
    }

    /// Seed 7, epoch 0, recomputed by an independent script.
    const EIGHT: [u32; 8] = [0, 5, 6, 2, 4, 3, 1, 7];

    #[test]
    fn in_order_keeps_the_order() {
        let batches = Batches::new(5, 2, 7).unwrap().in_order();
        assert_eq!(batches.epoch(1).collect::<Vec<_>>(), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn empty_and_oversized_requests_are_argument_errors() {
        let mut requests = vec![(0, 4), (4, 0)];
        if usize::BITS > 32 {
            requests.push((u32::MAX as usize + 1, 4));
        }
        for (len, batch) in requests {
            assert!(matches!(Batches::new(len, batch, 0), Err(Error::Argument { .. })), "{len} {batch}");
        }
        assert_eq!(Batches::new(3, usize::MAX, 0).unwrap().epoch(0).next().unwrap().len(), 3);
    }

    #[test]
    fn every_permutation_of_four_is_equally_likely() {
        let batches = Batches::new(4, 4, 1).unwrap();
        let mut counts = std::collections::BTreeMap::new();
        let draws = 24_000;
        for epoch in 0..draws {
            *counts.entry(order(&batches, epoch)).or_insert(0.0) += 1.0;
        }
        assert_eq!(counts.len(), 24);
        let expected = draws as f64 / 24.0;
        let chi2: f64 = counts.values().map(|n: &f64| (n - expected).powi(2) / expected).sum();
        // 23 degrees of freedom: 49.7 is exceeded with probability 0.001; the seed is fixed.
        assert!(chi2 < 49.7, "χ² = {chi2}");
    }

    #[test]
    fn bounded_integers_redraw_the_words_that_would_bias_them() {
        // n = 3·2³⁰: 2³² mod n = 2³⁰, so a quarter of the words is drawn again, 0 among them.
        let mut words = [0u32, 1, u32::MAX].into_iter();
        assert_eq!(below(3 << 30, || words.next().unwrap()), 0);
        assert_eq!(words.next(), Some(u32::MAX), "0 was refused, 1 was accepted");
        assert_eq!(below(1, || 12345), 0);
        assert_eq!(below(u32::MAX, || u32::MAX), u32::MAX - 1);
    }
}
