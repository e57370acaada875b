//! The multilayer perceptrons of the chapter: with batch norm, without, and with a noisy one.

use crate::error::Result;
use crate::labs::training::Classifier;
use crate::nn::{BatchNorm, Init, LayerInit, Linear, Mode, Module, Params, Randomness, Sequential};
use crate::tensor::Tensor;

/// What stands between a linear layer and its relu.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Between {
    Nothing,
    BatchNorm,
    /// Batch norm whose output is scaled and shifted at random, for each unit and step anew.
    Noise,
}

/// Linear layers of these sizes with He's weights on the flattened image, relu between them.
pub(super) fn network(params: Params, sizes: &[usize], between: Between) -> Result<Classifier> {
    let he = LayerInit { weight: Init::he(), bias: true, bias_init: Some(Init::Zeros) };
    let before_norm = LayerInit { bias: false, ..he };
    let mut model = Sequential::new().then(|x| x.flatten(1));
    for (index, pair) in sizes.windows(2).enumerate() {
        let at = params.at(format!("layer{index}"));
        let last = index + 2 == sizes.len();
        let init = if last || between == Between::Nothing { he } else { before_norm };
        model = model.add(Linear::with(&at, pair[0], pair[1], init)?);
        if last {
            break;
        }
        if between != Between::Nothing {
            model = model.add(BatchNorm::new(&at.at("norm"), pair[1])?);
        }
        if between == Between::Noise {
            model = model.add(Noise { randomness: at.randomness("noise")?, units: pair[1] });
        }
        model = model.add(Tensor::relu);
    }
    Ok(Classifier { params, model })
}

/// x·(1 + ξ/2) + ξ'/2 with ξ, ξ' ~ N(0, 1) for each unit: statistics that jump from step to step.
struct Noise {
    randomness: Randomness,
    units: usize,
}

impl Module for Noise {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let Some(stream) = self.randomness.stream("noise", mode)? else { return Ok(x.clone()) };
        let drawn = Tensor::normal(x.device(), [2, self.units], stream)?.mul_scalar(0.5)?;
        x.mul(&drawn.select(0, 0)?.add_scalar(1.0)?)?.add(&drawn.select(0, 1)?)
    }
}
