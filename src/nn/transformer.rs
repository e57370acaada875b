//! Layers of a transformer.

use super::attention::{HeadOptions, KvCache, MultiHeadAttention};
use super::dropout::Dropout;
use super::layers::Linear;
use super::module::{Mode, Module};
use super::norms::{LayerNorm, NormInit};
use super::params::Params;
use crate::error::Result;
use crate::ops::Attention;
use crate::tensor::Tensor;

/// What stands between the two maps of a transformer layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0).
    #[default]
    Relu,
    /// x·Φ(x).
    Gelu,
}

/// How a transformer layer is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransformerOptions {
    /// How its attention is made; the probability of dropout there too.
    pub attention: HeadOptions,
    /// Features between the two maps.
    pub hidden: usize,
    /// What stands between them.
    pub activation: Activation,
    /// The probability that an element of a branch, or between the maps, is dropped while learning.
    pub dropout: f64,
    /// Whether a branch normalises what it is given, x + f(norm x), which trains more steadily (Xiong et al. 2020,
    /// arXiv:2002.04745), instead of what comes of it, norm(x + f(x)).
    pub norm_first: bool,
    /// Added to the variance before the square root.
    pub eps: f64,
}

impl TransformerOptions {
    /// So many heads and hidden features, ReLU, no dropout, norms behind, eps 1e-5.
    pub fn new(heads: usize, hidden: usize) -> Self {
        TransformerOptions {
            attention: HeadOptions::new(heads),
            hidden,
            activation: Activation::default(),
            dropout: 0.0,
            norm_first: false,
            eps: 1e-5,
        }
    }
}

/// A residual branch: x + dropout(f(norm x)), or norm(x + dropout(f(x))).
#[derive(Clone, Debug)]
struct Branch {
    norm: LayerNorm,
    dropout: Dropout,
    norm_first: bool,
}

impl Branch {
    fn new(params: &Params, number: usize, features: usize, options: &TransformerOptions) -> Result<Self> {
        let init = NormInit { eps: options.eps, ..NormInit::default() };
        Ok(Branch {
            norm: LayerNorm::with(&params.at(format!("norm{number}")), [features], init)?,
            dropout: Dropout::new(&params.at(format!("dropout{number}")), options.dropout)?,
            norm_first: options.norm_first,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if self.norm_first {
            return x.add(&self.dropout.forward(&f(&self.norm.forward(x)?)?, mode)?);
        }
        self.norm.forward(&x.add(&self.dropout.forward(&f(x)?, mode)?)?)
    }
}

/// Two maps with an activation between, at each position alone.
#[derive(Clone, Debug)]
struct FeedForward {
    first: Linear,
    second: Linear,
    dropout: Dropout,
    activation: Activation,
}

impl FeedForward {
    fn new(params: &Params, features: usize, options: &TransformerOptions) -> Result<Self> {
        Ok(FeedForward {
            first: Linear::new(&params.at("linear1"), features, options.hidden)?,
            second: Linear::new(&params.at("linear2"), options.hidden, features)?,
            dropout: Dropout::new(&params.at("dropout"), options.dropout)?,
            activation: options.activation,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let hidden = self.first.forward(x)?;
        let hidden = match self.activation {
            Activation::Relu => hidden.relu()?,
            Activation::Gelu => hidden.gelu()?,
        };
        self.second.forward(&self.dropout.forward(&hidden, mode)?)
    }
}

/// Self-attention and two maps, each a residual branch with a layer norm. With a causal [`Attention`] it is the
/// layer of a language model.
///
/// `[B, T, E]` → the same. The parameters are called as PyTorch's `TransformerEncoderLayer` calls them:
/// `self_attn`, `linear1`, `linear2`, `norm1`, `norm2`.
#[derive(Clone, Debug)]
pub struct TransformerEncoderLayer {
    /// The attention.
    pub attention: MultiHeadAttention,
    maps: FeedForward,
    branches: [Branch; 2],
}

impl TransformerEncoderLayer {
    /// For vectors of `features` numbers.
    ///
    /// Errors: those of [`MultiHeadAttention::with`].
    pub fn new(params: &Params, features: usize, options: TransformerOptions) -> Result<Self> {
        Ok(TransformerEncoderLayer {
            attention: MultiHeadAttention::with(&params.at("self_attn"), features, options.attention)?,
            maps: FeedForward::new(params, features, &options)?,
            branches: [
                Branch::new(params, 1, features, &options)?,
                Branch::new(params, 2, features, &options)?,
            ],
        })
    }

    /// Each vector of x attends to those that `attention` opens to it.
    ///
    /// Errors: those of [`MultiHeadAttention::forward`].
    pub fn forward(&self, x: &Tensor, attention: &Attention, mode: Mode) -> Result<Tensor> {
        self.through(x, mode, |x| self.attention.forward(x, x, attention, mode))
    }

    /// x goes on where the cache ends; see [`MultiHeadAttention::decode`].
    pub fn decode(&self, x: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        self.through(x, Mode::Eval, |x| self.attention.decode(x, cache))
    }

    fn through(
        &self,
        x: &Tensor,
        mode: Mode,
        attend: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let x = self.branches[0].forward(x, mode, attend)?;
        self.branches[1].forward(&x, mode, |x| self.maps.forward(x, mode))
    }
}

/// Attention to all vectors.
impl Module for TransformerEncoderLayer {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        TransformerEncoderLayer::forward(self, x, &Attention::default(), mode)
    }
}

/// Self-attention, attention to the output of an encoder, and two maps, each a residual branch with a layer norm.
///
/// `[B, T, E]`, with a memory `[B, Tm, E]` → `[B, T, E]`. The parameters are called as PyTorch's
/// `TransformerDecoderLayer` calls them: `self_attn`, `multihead_attn`, `linear1`, `linear2`, `norm1` to `norm3`.
#[derive(Clone, Debug)]
pub struct TransformerDecoderLayer {
    /// The attention to what the decoder itself has produced.
    pub attention: MultiHeadAttention,
    /// The attention to the memory.
    pub cross: MultiHeadAttention,
    maps: FeedForward,
    branches: [Branch; 3],
}

impl TransformerDecoderLayer {
    /// For vectors of `features` numbers. Positions are not turned in the attention to the memory.
    ///
    /// Errors: those of [`MultiHeadAttention::with`].
    pub fn new(params: &Params, features: usize, options: TransformerOptions) -> Result<Self> {
        let cross = HeadOptions { rotary: None, ..options.attention };
        let branch = |number| Branch::new(params, number, features, &options);
        Ok(TransformerDecoderLayer {
            attention: MultiHeadAttention::with(&params.at("self_attn"), features, options.attention)?,
            cross: MultiHeadAttention::with(&params.at("multihead_attn"), features, cross)?,
            maps: FeedForward::new(params, features, &options)?,
            branches: [branch(1)?, branch(2)?, branch(3)?],
        })
    }

    /// Each vector of x attends to those of x that `own` opens to it, then to those of `memory` that `other` does.
    ///
    /// Errors: those of [`MultiHeadAttention::forward`].
    pub fn forward(
        &self,
        x: &Tensor,
        memory: &Tensor,
        own: &Attention,
        other: &Attention,
        mode: Mode,
    ) -> Result<Tensor> {
        self.through(x, memory, other, mode, |x| self.attention.forward(x, x, own, mode))
    }

    /// x goes on where the cache ends; see [`MultiHeadAttention::decode`].
    pub fn decode(
        &self,
        x: &Tensor,
        memory: &Tensor,
        other: &Attention,
        cache: &mut KvCache,
    ) -> Result<Tensor> {
        self.through(x, memory, other, Mode::Eval, |x| self.attention.decode(x, cache))
    }

    fn through(
        &self,
        x: &Tensor,
        memory: &Tensor,
        other: &Attention,
        mode: Mode,
        attend: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let x = self.branches[0].forward(x, mode, attend)?;
        let x = self.branches[1].forward(&x, mode, |x| self.cross.forward(x, memory, other, mode))?;
        self.branches[2].forward(&x, mode, |x| self.maps.forward(x, mode))
    }
}
