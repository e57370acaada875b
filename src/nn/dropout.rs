//! Layers that leave out at random, and where their random numbers come from.

use super::init::fnv1a;
use super::module::{Mode, Module};
use super::params::Params;
use crate::error::{Error, Result};
use crate::ops::Stream;
use crate::ops::dropout::check_probability;
use crate::ops::random::{halves, philox::philox4x32_10};
use crate::tensor::Tensor;

/// Where a layer's random numbers come from; see [`Params::randomness`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Randomness {
    /// One seed for steps, one for samples.
    seeds: [u64; 2],
}

impl Randomness {
    pub(super) fn new(seed: u64, path: &str) -> Self {
        let [low, high] = halves(fnv1a(path.as_bytes()));
        let tag = u32::from_be_bytes(*b"path");
        let words = philox4x32_10([low, high, 0, tag], halves(seed));
        let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        Randomness { seeds: [join(words[0], words[1]), join(words[2], words[3])] }
    }

    /// The random numbers of a pass; none where the mode knows no chance.
    ///
    /// Errors: [`Error::Argument`] for [`Mode::Train`], which does not say at which step.
    pub fn stream(&self, op: &'static str, mode: Mode) -> Result<Option<Stream>> {
        match mode {
            Mode::Eval => Ok(None),
            Mode::Step(step) => Ok(Some(Stream::new(self.seeds[0], step))),
            Mode::Sample(sample) => Ok(Some(Stream::new(self.seeds[1], sample))),
            Mode::Train => Err(Error::argument(
                op,
                "Mode::Train, which does not say which random numbers to draw",
                "Give the number of the step: Mode::Step(step).",
            )),
        }
    }
}

macro_rules! dropout {
    ($($(#[$doc:meta])* $name:ident, $op:literal, $method:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// The mask is a function of the seed, the layer's path and the step: see [`Mode`]. To judge, it is the
        /// identity.
        #[derive(Clone, Debug)]
        pub struct $name {
            /// The probability of being left out.
            pub p: f64,
            randomness: Randomness,
        }

        impl $name {
            /// Leaves out with probability `p`.
            ///
            /// Errors: [`Error::Argument`] unless 0 ≤ p ≤ 1, or if there is such a layer at this path already.
            pub fn new(params: &Params, p: f64) -> Result<Self> {
                check_probability($op, p)?;
                Ok($name { p, randomness: params.randomness($op)? })
            }

            /// x with some of it left out.
            ///
            /// Errors: [`Error::Argument`] for [`Mode::Train`], which does not say at which step, unless p = 0.
            pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
                if self.p == 0.0 {
                    return Ok(x.clone());
                }
                match self.randomness.stream($op, mode)? {
                    Some(stream) => x.$method(self.p, stream),
                    None => Ok(x.clone()),
                }
            }
        }

        impl Module for $name {
            fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
                $name::forward(self, x, mode)
            }
        }
    )*};
}
dropout! {
    /// Leaves out single elements and scales the others by 1/(1 − p); see [`Tensor::dropout`].
    Dropout, "dropout", dropout;
    /// Leaves out whole channels of `[N, C, ..]`; see [`Tensor::dropout_channels`].
    Dropout2d, "dropout_channels", dropout_channels;
    /// Leaves out elements of self-normalising networks; see [`Tensor::alpha_dropout`].
    AlphaDropout, "alpha_dropout", alpha_dropout;
    /// Leaves out whole examples of a residual branch; see [`Tensor::drop_path`].
    DropPath, "drop_path", drop_path;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::nn::{Linear, Sequential};

    #[test]
    fn masks_follow_path_and_step_and_nothing_else() {
        let build = |params: &Params| Dropout::new(&params.at("a"), 0.5).unwrap();
        let (one, two) = (Params::new(&Device::cpu(), 7), Params::new(&Device::cpu(), 7));
        let (a, again) = (build(&one), build(&two));
        let other = Dropout::new(&one.at("b"), 0.5).unwrap();
        let x = Tensor::ones(&Device::cpu(), [64]).unwrap();
        let run = |layer: &Dropout, mode| layer.forward(&x, mode).unwrap().to_vec::<f32>().unwrap();
        let step = run(&a, Mode::Step(3));
        run(&again, Mode::Step(0));
        assert_eq!(step, run(&again, Mode::Step(3)));
        for (layer, mode) in [(&a, Mode::Step(4)), (&a, Mode::Sample(3)), (&other, Mode::Step(3))] {
            assert_ne!(step, run(layer, mode));
        }
        assert_eq!(run(&a, Mode::Eval), [1.0; 64]);
        assert!(matches!(a.forward(&x, Mode::Train), Err(Error::Argument { .. })));
        assert!(matches!(Dropout::new(&one.at("a"), 0.1), Err(Error::Argument { .. })));
    }

    #[test]
    fn samples_spread_about_the_prediction() {
        let params = Params::new_f64(1);
        let model = Sequential::new()
            .add(Linear::new(&params.at("hidden"), 3, 64).unwrap())
            .add(Dropout::new(&params.at("drop"), 0.5).unwrap())
            .add(Linear::new(&params.at("output"), 64, 1).unwrap());
        let x = Tensor::from_slice(&Device::cpu(), &[0.3f64, -0.2, 0.7], [1, 3]).unwrap();
        let predicted = model.forward(&x, Mode::Eval).unwrap().item().unwrap();
        let samples: Vec<f64> =
            (0..400).map(|s| model.forward(&x, Mode::Sample(s)).unwrap().item().unwrap()).collect();
        let mean = samples.iter().sum::<f64>() / 400.0;
        let deviation = (samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 400.0).sqrt();
        // The network is linear behind the mask, so the mean is the prediction; the mean of 400 strays by 1/20.
        assert!(
            deviation > 1e-3 && (mean - predicted).abs() < 0.2 * deviation,
            "{mean}, {predicted}, {deviation}"
        );
    }
}
