//! Networks: named parameters, how they start, and the layers that use them.
//!
//! [`Params`] keeps every learned number of a model under a dotted path. A layer is a plain struct that
//! registers what it needs when it is built, and computes with it in one `forward`; a model is whatever
//! struct or [`Sequential`] holds its layers. Nothing is derived and nothing is global: what a parameter
//! starts as is a function of the seed and its path, so adding a layer leaves the others as they were.
//!
//! ```
//! use gradus::nn::{Linear, Mode, Module, Params, Sequential};
//! use gradus::optim::{Adam, Optimizer};
//! use gradus::{Device, Tensor};
//! # fn main() -> gradus::Result<()> {
//! let device = Device::cpu();
//! let params = Params::new(&device, 7);
//! let model = Sequential::new()
//!     .add(Linear::new(&params.at("hidden"), 2, 16)?)
//!     .then(|x| x.tanh())
//!     .add(Linear::new(&params.at("output"), 16, 1)?);
//! assert_eq!(params.count(), 2 * 16 + 16 + 16 + 1);
//!
//! let x = Tensor::from_slice(&device, &[0.0f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [4, 2])?;
//! let y = Tensor::from_slice(&device, &[0.0f32, 1.0, 1.0, 0.0], [4, 1])?;
//! let mut adam = Adam::new(&params, 0.03)?;
//! let mut last = f64::INFINITY;
//! for _ in 0..300 {
//!     let loss = model.forward(&x, Mode::Train)?.sub(&y)?.square()?.mean(&[], false)?;
//!     adam.step(&loss.backward()?)?;
//!     last = loss.item()?;
//! }
//! assert!(last < 0.01, "exclusive or is learned: {last}");
//! # Ok(())
//! # }
//! ```

mod attention;
mod conv;
mod dropout;
mod init;
mod layers;
mod mc_dropout;
mod module;
mod norms;
mod observe;
mod parameter;
mod params;
mod recurrent;
mod transformer;

pub use attention::{Embedding, HeadOptions, KvCache, MultiHeadAttention};
pub use conv::{Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d};
pub use dropout::{AlphaDropout, DropPath, Dropout, Dropout2d, Randomness};
pub use init::{Fan, Init, Nonlinearity};
pub use layers::{BatchNorm, BatchNormOptions, LayerInit, Linear};
pub use mc_dropout::{McClasses, McPrediction, mc_dropout, mc_dropout_classes};
pub use module::{Checkpoint, Mode, Module, Residual, Sequential};
pub use norms::{GroupNorm, InstanceNorm, LayerNorm, NormInit, RmsNorm};
pub(crate) use observe::{Affine, Seen, observed};
pub use parameter::Parameter;
pub use params::Params;
pub(crate) use params::RESERVED;
pub use recurrent::{
    Gru, GruCell, Lstm, LstmCell, LstmOutput, RecurrentInit, RecurrentOptions, Rnn, RnnCell, RnnOutput,
};
pub use transformer::{Activation, TransformerDecoderLayer, TransformerEncoderLayer, TransformerOptions};
