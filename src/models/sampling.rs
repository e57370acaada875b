//! Which token comes next, given the logits of all.

use crate::error::{Error, Result};
use crate::ops::Stream;
use crate::ops::random::{halves, philox::philox4x32_10};

/// How a token is drawn from logits: softmax(logits/temperature), restricted to the likeliest tokens.
///
/// With z the logits and τ the temperature, p ∝ exp(z/τ). `top_k` keeps the k likeliest tokens (Fan, Lewis and
/// Dauphin 2018, arXiv:1805.04833), `top_p` of what is left the fewest likeliest whose probabilities together reach
/// p (the nucleus of Holtzman et al. 2020, arXiv:1904.09751); what is kept is scaled to one again. Of equal logits
/// the first token is the likelier. τ = 0 takes the likeliest.
///
/// What is drawn is a function of the stream, the position in the text, and the logits: the same on every device
/// that computes the same logits, however often generation was interrupted.
///
/// ```
/// use gradus::models::Sampling;
/// use gradus::ops::Stream;
/// # fn main() -> gradus::Result<()> {
/// let sampling = Sampling::new(Stream::new(7, 0)).temperature(0.5).top_k(2);
/// let p = sampling.probabilities(&[0.0, 0.5, -3.0])?;
/// assert!((p[1] / p[0] - 1f64.exp()).abs() < 1e-12 && p[2] == 0.0);
/// assert_eq!(Sampling::greedy().choose(&[0.0, 0.5, -3.0], 0)?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// What logits are divided by; 0 takes the likeliest.
    pub temperature: f64,
    /// How many tokens are kept, at most.
    pub top_k: Option<usize>,
    /// What the kept tokens' probabilities reach together.
    pub top_p: Option<f64>,
    /// The random numbers.
    pub stream: Stream,
}

impl Sampling {
    /// From softmax of the logits as they are.
    pub fn new(stream: Stream) -> Self {
        Sampling { temperature: 1.0, top_k: None, top_p: None, stream }
    }

    /// The likeliest token always.
    pub fn greedy() -> Self {
        Sampling { temperature: 0.0, ..Sampling::new(Stream::default()) }
    }

    /// Divides the logits by this.
    pub fn temperature(self, temperature: f64) -> Self {
        Sampling { temperature, ..self }
    }

    /// Keeps the likeliest so many tokens.
    pub fn top_k(self, k: usize) -> Self {
        Sampling { top_k: Some(k), ..self }
    }

    /// Keeps the fewest likeliest tokens whose probabilities together reach `p`.
    pub fn top_p(self, p: f64) -> Self {
        Sampling { top_p: Some(p), ..self }
    }

    /// The probability of each token.
    ///
    /// Errors: [`Error::Argument`] for no logits or one that is not finite, a temperature that is negative or not
    /// finite, a `top_k` of zero, or a `top_p` outside (0, 1].
    pub fn probabilities(&self, logits: &[f64]) -> Result<Vec<f64>> {
        self.check(logits)?;
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let greedy = self.temperature == 0.0;
        order.truncate(if greedy { 1 } else { self.top_k.unwrap_or(logits.len()) });
        let highest = logits[order[0]];
        let weight =
            |&token: &usize| if greedy { 1.0 } else { ((logits[token] - highest) / self.temperature).exp() };
        let mut weights: Vec<f64> = order.iter().map(weight).collect();
        if let Some(p) = self.top_p {
            let enough = p * weights.iter().sum::<f64>();
            let mut sum = 0.0;
            let below = weights.iter().take_while(|&&w| {
                sum += w;
                sum < enough
            });
            let kept = (below.count() + 1).min(weights.len());
            weights.truncate(kept);
        }
        let total: f64 = weights.iter().sum();
        let mut probabilities = vec![0.0; logits.len()];
        for (&token, weight) in order.iter().zip(&weights) {
            probabilities[token] = weight / total;
        }
        Ok(probabilities)
    }

    /// The token at a position of the text.
    ///
    /// Errors: those of [`probabilities`](Self::probabilities).
    pub fn choose(&self, logits: &[f64], position: u64) -> Result<usize> {
        let probabilities = self.probabilities(logits)?;
        let mut left = uniform(self.stream, position);
        let mut last = 0;
        for (token, &p) in probabilities.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            if left < p {
                return Ok(token);
            }
            left -= p;
            last = token;
        }
        // Rounding may leave a little of the last probability over.
        Ok(last)
    }

    fn check(&self, logits: &[f64]) -> Result<()> {
        let bad = |given: String, remedy: &str| Err(Error::argument("sampling", given, remedy));
        if logits.is_empty() || logits.iter().any(|z| !z.is_finite()) {
            return bad(
                format!("{} logits, some not finite", logits.len()),
                "Give finite logits, one at least.",
            );
        }
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return bad(format!("temperature {}", self.temperature), "It is finite and not negative.");
        }
        if self.top_k == Some(0) {
            return bad("a top_k of zero".into(), "Keep at least one token.");
        }
        match self.top_p {
            Some(p) if !(p > 0.0 && p <= 1.0) => bad(format!("top_p {p}"), "It lies in (0, 1]."),
            _ => Ok(()),
        }
    }
}

/// A number uniform in [0, 1), of 53 bits: that of a position of a stream.
fn uniform(Stream { seed, stream }: Stream, position: u64) -> f64 {
    // The position takes a counter word of its own, and its upper half that of the tag, which keeps these numbers
    // apart from those of random tensors.
    let ([low, high], [first, second]) = (halves(stream), halves(position));
    let tag = u32::from_be_bytes(*b"next") ^ second;
    let words = philox4x32_10([first, low, high, tag], halves(seed));
    let bits = u64::from(words[0]) << 32 | u64::from(words[1]);
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f64; 5] = [1.0, 3.0, -2.0, 3.0, 0.5];

    fn sampling() -> Sampling {
        Sampling::new(Stream::new(3, 1))
    }

    fn kept(sampling: Sampling) -> Vec<usize> {
        let p = sampling.probabilities(&LOGITS).unwrap();
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        (0..p.len()).filter(|&i| p[i] > 0.0).collect()
    }

    #[test]
    fn top_k_keeps_the_k_likeliest_and_the_first_of_equals() {
        assert_eq!(kept(sampling()), [0, 1, 2, 3, 4]);
        assert_eq!(kept(sampling().top_k(3)), [0, 1, 3]);
        assert_eq!(kept(sampling().top_k(1)), [1]);
        assert_eq!(kept(sampling().top_k(99)), [0, 1, 2, 3, 4]);
        assert_eq!(kept(Sampling::greedy()), [1]);
    }

    #[test]
    fn top_p_keeps_the_fewest_that_reach_p() {
        // Probabilities: .452 twice, .061, .037, .003.
        assert_eq!(kept(sampling().top_p(0.4)), [1]);
        assert_eq!(kept(sampling().top_p(0.5)), [1, 3]);
        assert_eq!(kept(sampling().top_p(0.93)), [0, 1, 3]);
        assert_eq!(kept(sampling().top_p(1.0)), [0, 1, 2, 3, 4]);
        // Of what top_k leaves: half each.
        assert_eq!(kept(sampling().top_k(2).top_p(0.5)), [1]);
        assert_eq!(kept(sampling().top_k(2).top_p(0.51)), [1, 3]);
    }

    #[test]
    fn temperature_divides_the_logits() {
        let p = sampling().temperature(2.0).probabilities(&LOGITS).unwrap();
        assert!((p[1] / p[0] - 1f64.exp()).abs() < 1e-12);
        let cold = sampling().temperature(1e-3).probabilities(&[0.0, 1.0]).unwrap();
        assert_eq!(cold, [0.0, 1.0]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let sampling = sampling().top_k(3);
        let p = sampling.probabilities(&LOGITS).unwrap();
        let mut counts = [0.0; 5];
        for position in 0..20_000 {
            counts[sampling.choose(&LOGITS, position).unwrap()] += 1.0 / 20_000.0;
        }
        // Four standard errors are .014.
        assert!(counts.iter().zip(&p).all(|(c, p)| (c - p).abs() < 0.014), "{counts:?} for {p:?}");
        assert_eq!(counts[2], 0.0);
    }

    #[test]
    fn positions_and_streams_draw_apart() {
        let at = |seed, stream, position| uniform(Stream::new(seed, stream), position);
        let all = [at(1, 0, 0), at(2, 0, 0), at(1, 1, 0), at(1, 0, 1), at(1, 0, 1 << 32)];
        assert!((0..5).all(|i| (0..i).all(|j| all[i] != all[j])));
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        for wrong in [
            sampling().temperature(-1.0),
            sampling().temperature(f64::NAN),
            sampling().top_k(0),
            sampling().top_p(0.0),
            sampling().top_p(1.5),
        ] {
            assert!(wrong.probabilities(&LOGITS).is_err(), "{wrong:?}");
        }
        assert!(sampling().probabilities(&[]).is_err());
        assert!(sampling().probabilities(&[0.0, f64::NAN]).is_err());
    }
}
