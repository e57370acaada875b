//! Whole models, built on the layers of [`nn`](crate::nn): what an embedder would otherwise write again.
//!
//! A model is a plain struct of layers with one `forward`; its parameters live in the
//! [`Params`](crate::nn::Params) it was made with, under the names that its documentation lists.
//!
//! * [`Gpt`]: a causal Transformer over tokens, with generation through a cache of keys and values.
//! * [`RecurrentLanguageModel`]: the same with an LSTM or a GRU.
//! * [`Forecaster`]: the next value of a series from a window of it.
//! * [`ResNet`]: the residual network for small images, of depth 20, 32 and more.
//!
//! [`Generation`] draws one token after the other from any model that is a [`Reader`], as [`Sampling`] says.

mod forecast;
mod generation;
mod gpt;
mod recurrent;
mod resnet;
mod sampling;

pub use forecast::{Forecaster, ForecasterOptions, windows};
pub use generation::{Generation, Reader};
pub use gpt::{Gpt, GptOptions, GptReader};
pub use recurrent::{RecurrentKind, RecurrentLanguageModel, RecurrentModelOptions, RecurrentReader};
pub use resnet::{BasicBlock, ResNet, ResNetOptions, Shortcut};
pub use sampling::Sampling;
