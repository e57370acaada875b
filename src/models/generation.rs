//! One token after the other.

use super::sampling::Sampling;
use crate::error::{Error, Result};

/// Something that reads tokens and says what it expects next: a model with what it remembers of a text.
pub trait Reader {
    /// Reads further tokens, one at least, and gives the logits of the token that follows the last of them.
    fn read(&mut self, tokens: &[i32]) -> Result<Vec<f64>>;
}

/// Tokens drawn one after the other, each read before the next is drawn. It ends with the first error, which it
/// gives, and otherwise never: take as many as you like, or until one of them says that the text is over.
///
/// The n-th token of the text, those given counted, is drawn with the n-th random number of the sampling's stream.
pub struct Generation<R> {
    reader: R,
    sampling: Sampling,
    /// What the reader has not read yet.
    unread: Vec<i32>,
    position: u64,
    over: bool,
}

impl<R: Reader> Generation<R> {
    /// What follows `prompt`.
    ///
    /// Errors: [`Error::Argument`] for an empty prompt, after which nothing is likelier than anything else.
    pub fn new(reader: R, prompt: &[i32], sampling: Sampling) -> Result<Self> {
        if prompt.is_empty() {
            return Err(Error::argument("generation", "no prompt", "Give at least one token to begin with."));
        }
        let position = prompt.len() as u64;
        Ok(Generation { reader, sampling, unread: prompt.to_vec(), position, over: false })
    }

    fn draw(&mut self) -> Result<i32> {
        let logits = self.reader.read(&self.unread)?;
        let token = self.sampling.choose(&logits, self.position)? as i32;
        self.unread = vec![token];
        self.position += 1;
        Ok(token)
    }
}

impl<R: Reader> Iterator for Generation<R> {
    type Item = Result<i32>;

    fn next(&mut self) -> Option<Result<i32>> {
        if self.over {
            return None;
        }
        let token = self.draw();
        self.over = token.is_err();
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expects the number of tokens it has read so far, and fails at five.
    struct Counter(usize);

    impl Reader for Counter {
        fn read(&mut self, tokens: &[i32]) -> Result<Vec<f64>> {
            self.0 += tokens.len();
            if self.0 >= 5 {
                return Err(Error::argument("counter", "five", "Stop earlier."));
            }
            Ok((0..5).map(|n| f64::from(u8::from(n == self.0))).collect())
        }
    }

    #[test]
    fn every_token_is_read_once_and_an_error_ends_the_text() {
        let mut generation = Generation::new(Counter(0), &[0, 0], Sampling::greedy()).unwrap();
        let tokens: Vec<i32> = generation.by_ref().map_while(Result::ok).collect();
        assert_eq!(tokens, [2, 3, 4]);
        assert!(generation.next().is_none());
        assert!(Generation::new(Counter(0), &[], Sampling::greedy()).is_err());
    }
}
