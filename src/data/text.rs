//! Texts as numbers: an alphabet, and pieces of a long sequence to learn from.

use super::batches::{Words, below};
use crate::error::{Error, Result};

/// The characters of a text, each with a number: their places in sorted order.
///
/// ```
/// use gradus::data::Characters;
/// # fn main() -> gradus::Result<()> {
/// let alphabet = Characters::of("abracadabra");
/// assert_eq!(alphabet.len(), 5);
/// assert_eq!(alphabet.encode("cab")?, [2, 0, 1]);
/// assert_eq!(alphabet.decode(&[3, 0, 3])?, "dad");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Characters(Vec<char>);

impl Characters {
    /// Those that the text has.
    pub fn of(text: &str) -> Self {
        let mut present: Vec<char> =
            text.chars().collect::<std::collections::HashSet<_>>().into_iter().collect();
        present.sort_unstable();
        Characters(present)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The characters of a text as numbers.
    ///
    /// Errors: [`Error::Argument`] for one that is not in the alphabet.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>> {
        let number = |c: char| {
            let found = self.0.binary_search(&c);
            found.map(|n| n as i32).map_err(|_| {
                let given = format!("the character {c:?}");
                Error::argument("Characters::encode", given, "Only those of the alphabet have a number.")
            })
        };
        text.chars().map(number).collect()
    }

    /// The text that the numbers stand for.
    ///
    /// Errors: [`Error::Argument`] for a number that no character has.
    pub fn decode(&self, numbers: &[i32]) -> Result<String> {
        let character = |&n: &i32| {
            let found = usize::try_from(n).ok().and_then(|n| self.0.get(n));
            found.copied().ok_or_else(|| {
                let given = format!("the number {n} of {} characters", self.len());
                Error::argument("Characters::decode", given, "Numbers begin at 0 and end before the count.")
            })
        };
        numbers.iter().map(character).collect()
    }
}

/// Pieces of a sequence of tokens, each with the tokens that follow it one by one: what a language model reads
/// and what it should have said.
///
/// ```
/// use gradus::data::Segments;
/// # fn main() -> gradus::Result<()> {
/// let segments = Segments::new(&[0, 1, 2, 3, 4, 5], 3)?;
/// let batch = segments.random(2, 7, 0);
/// assert_eq!(batch.shape(), [2, 3]);
/// assert_eq!(batch.tokens[1] + 1, batch.next[1]);
/// assert_eq!(segments.in_order(0, 9).tokens, [0, 1, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Segments<'a> {
    tokens: &'a [i32],
    length: usize,
}

/// Pieces of one length, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentBatch {
    /// What is read, `[count, length]` row-major.
    pub tokens: Vec<i32>,
    /// What follows each token, likewise.
    pub next: Vec<i32>,
    length: usize,
}

impl SegmentBatch {
    /// `[count, length]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.tokens.len() / self.length, self.length]
    }
}

impl<'a> Segments<'a> {
    /// Pieces of `length` tokens.
    ///
    /// Errors: [`Error::Argument`] if that is none, or if there are not more tokens than that, or more than 2³².
    pub fn new(tokens: &'a [i32], length: usize) -> Result<Self> {
        if length == 0 || tokens.len() <= length || u32::try_from(tokens.len()).is_err() {
            return Err(Error::argument(
                "Segments::new",
                format!("pieces of {length} out of {} tokens", tokens.len()),
                "A piece has at least one token, and there is one more behind it.",
            ));
        }
        Ok(Segments { tokens, length })
    }

    /// `count` pieces that begin anywhere: a function of the seed and the step.
    pub fn random(&self, count: usize, seed: u64, step: u64) -> SegmentBatch {
        let mut words = Words::new(seed, step);
        let places = (self.tokens.len() - self.length) as u32;
        let places: Vec<usize> = (0..count).map(|_| below(places, || words.next()) as usize).collect();
        self.at(&places)
    }

    /// Pieces one behind the other, from number `first` on, as many of `count` as there are.
    pub fn in_order(&self, first: usize, count: usize) -> SegmentBatch {
        let all = (self.tokens.len() - 1) / self.length;
        let numbers = first..all.min(first.saturating_add(count));
        self.at(&numbers.map(|n| n * self.length).collect::<Vec<_>>())
    }

    fn at(&self, places: &[usize]) -> SegmentBatch {
        let take = |offset: usize| {
            let piece = |&at: &usize| self.tokens[at + offset..at + offset + self.length].iter().copied();
            places.iter().flat_map(piece).collect()
        };
        SegmentBatch { tokens: take(0), next: take(1), length: self.length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_pieces_are_repeatable_and_reach_both_ends() {
        let tokens: Vec<i32> = (0..9).collect();
        let segments = Segments::new(&tokens, 4).unwrap();
        let starts: std::collections::BTreeSet<i32> =
            (0..40).flat_map(|step| segments.random(3, 5, step).tokens.into_iter().step_by(4)).collect();
        assert_eq!(starts, (0..5).collect());
        assert_eq!(segments.random(3, 5, 2), segments.random(3, 5, 2));
        assert_ne!(segments.random(8, 5, 2), segments.random(8, 6, 2));
        let batch = segments.random(8, 5, 2);
        assert!(batch.tokens.iter().zip(&batch.next).all(|(a, b)| a + 1 == *b));
    }

    #[test]
    fn what_cannot_be_numbered_or_cut_is_an_error() {
        let alphabet = Characters::of("ab");
        assert!(alphabet.encode("abc").is_err());
        assert!(alphabet.decode(&[2]).is_err() && alphabet.decode(&[-1]).is_err());
        assert!(Segments::new(&[1, 2], 2).is_err() && Segments::new(&[1, 2], 0).is_err());
        assert_eq!(Segments::new(&[1, 2, 3, 4, 5], 2).unwrap().in_order(1, 9).tokens, [3, 4]);
    }
}
