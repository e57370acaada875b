//! Attention with its projections, what it keeps for decoding, and tables of vectors.

use super::dropout::Randomness;
use super::init::Init;
use super::layers::{LayerInit, Linear};
use super::module::{Mode, Module};
use super::parameter::Parameter;
use super::params::Params;
use crate::error::{Error, Result};
use crate::ops::dropout::check_probability;
use crate::ops::{Attention, Rotary};
use crate::tensor::Tensor;

/// A vector for each of a number of things: words, or positions.
///
/// Indices of any shape `[..]` → `[.., features]`. `weight` `[count, features]` starts as standard normal
/// numbers, as in PyTorch. For learned positions look up `Tensor::arange`.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// The vectors, one a row.
    pub weight: Parameter,
}

impl Embedding {
    /// `count` vectors of `features` numbers.
    pub fn new(params: &Params, count: usize, features: usize) -> Result<Self> {
        Embedding::with(params, count, features, Init::Normal { mean: 0.0, std: 1.0 })
    }

    /// `count` vectors of `features` numbers, started as `init` says.
    pub fn with(params: &Params, count: usize, features: usize, init: Init) -> Result<Self> {
        Ok(Embedding { weight: params.parameter("weight", [count, features], init)? })
    }

    /// The vectors at the indices.
    ///
    /// Errors: [`Error::Index`] for one that is not there, [`Error::DType`].
    pub fn forward(&self, indices: &Tensor) -> Result<Tensor> {
        self.weight.get().embedding(indices)
    }
}

impl Module for Embedding {
    fn forward(&self, indices: &Tensor, _: Mode) -> Result<Tensor> {
        Embedding::forward(self, indices)
    }
}

/// How a [`MultiHeadAttention`] is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadOptions {
    /// How many heads there are; they divide the features.
    pub heads: usize,
    /// How many heads of keys and values; `heads` if `None`, one for multi-query attention.
    pub key_heads: Option<usize>,
    /// Whether the projections have biases.
    pub bias: bool,
    /// The probability that a weight is dropped while learning.
    pub dropout: f64,
    /// Turns queries and keys by their positions.
    pub rotary: Option<Rotary>,
}

impl HeadOptions {
    /// So many heads, biases, and nothing else.
    pub fn new(heads: usize) -> Self {
        HeadOptions { heads, key_heads: None, bias: true, dropout: 0.0, rotary: None }
    }
}

/// Multi-head attention (Vaswani et al. 2017): projections of queries, keys and values, attention head by head,
/// and a projection of what the heads found.
///
/// The layout of parameters is PyTorch's: `in_proj_weight` `[E + 2·Ek, E]` has the rows of the queries' projection
/// first, then those of the keys' and the values', `in_proj_bias` likewise; `out_proj.weight` `[E, E]`,
/// `out_proj.bias`. E is the number of features and Ek = E·key_heads/heads, which is E but for grouped heads.
/// Feature h·E/heads + i is feature i of head h. Starts as there: Xavier uniform, biases zero.
#[derive(Clone, Debug)]
pub struct MultiHeadAttention {
    /// The projections of queries, keys and values, one below the other.
    pub in_weight: Parameter,
    /// Their biases.
    pub in_bias: Option<Parameter>,
    /// The projection of what the heads found.
    pub out: Linear,
    /// Heads, dropout and positions.
    pub options: HeadOptions,
    features: usize,
    randomness: Randomness,
}

impl MultiHeadAttention {
    /// For vectors of `features` numbers, all heads with keys of their own.
    pub fn new(params: &Params, features: usize, heads: usize) -> Result<Self> {
        MultiHeadAttention::with(params, features, HeadOptions::new(heads))
    }

    /// For vectors of `features` numbers.
    ///
    /// Errors: [`Error::Argument`] unless the heads divide the features, and the heads of keys the heads.
    pub fn with(params: &Params, features: usize, options: HeadOptions) -> Result<Self> {
        let HeadOptions { heads, bias, dropout, .. } = options;
        let groups = options.key_heads.unwrap_or(heads);
        let divides = |a: usize, b: usize| a > 0 && b.is_multiple_of(a);
        if features == 0 || !divides(heads, features) || !divides(groups, heads) {
            return Err(Error::argument(
                "multi_head_attention",
                format!("{features} features for {heads} heads, {groups} of keys"),
                "The heads divide the features, the heads of keys the heads.",
            ));
        }
        check_probability("multi_head_attention", dropout)?;
        let rows = features + 2 * (features / heads * groups);
        let in_bias = bias.then(|| params.parameter("in_proj_bias", [rows], Init::Zeros)).transpose()?;
        let init = LayerInit { bias, bias_init: Some(Init::Zeros), ..LayerInit::default() };
        Ok(MultiHeadAttention {
            in_weight: params.parameter(
                "in_proj_weight",
                [rows, features],
                Init::XavierUniform { gain: 1.0 },
            )?,
            in_bias,
            out: Linear::with(&params.at("out_proj"), features, features, init)?,
            options,
            features,
            randomness: params.randomness("attention")?,
        })
    }

    /// Rows `from` to below `to` of the projections, of x.
    fn project(&self, x: &Tensor, from: usize, to: usize) -> Result<Tensor> {
        if x.rank() != 3 || x.shape()[2] != self.features {
            let given = format!("{} for {} features", x.describe(), self.features);
            return Err(Error::shape("multi_head_attention", given, "Give [batch, time, features]."));
        }
        let weight = self.in_weight.for_input(x)?.slice(0, from, to)?.t()?;
        match &self.in_bias {
            Some(bias) => x.matmul_bias(&weight, &bias.for_input(x)?.slice(0, from, to)?),
            None => x.matmul(&weight),
        }
    }

    /// `[B, T, heads·D]` as `[B, heads, T, D]`.
    fn split(&self, x: &Tensor) -> Result<Tensor> {
        let depth = self.features / self.options.heads;
        let [batch, time] = [x.shape()[0], x.shape()[1]];
        x.reshape([batch, time, x.shape()[2] / depth, depth])?.permute(&[0, 2, 1, 3])
    }

    fn turned(&self, x: &Tensor, offset: usize) -> Result<Tensor> {
        self.options.rotary.as_ref().map_or(Ok(x.clone()), |rotary| x.rotary(rotary, offset))
    }

    /// Keys and values of what is attended to, `[B, heads, T, D]` each, the first at position `offset`.
    fn keys(&self, memory: &Tensor, offset: usize) -> Result<[Tensor; 2]> {
        let (first, all) = (self.features, self.in_weight.shape()[0]);
        let both = self.project(memory, first, all)?;
        let half = (all - first) / 2;
        let keys = self.split(&both.slice(2, 0, half)?)?;
        Ok([self.turned(&keys, offset)?, self.split(&both.slice(2, half, 2 * half)?)?])
    }

    /// What the queries find among the keys.
    fn attend(
        &self,
        x: &Tensor,
        [keys, values]: [&Tensor; 2],
        attention: &Attention,
        mode: Mode,
    ) -> Result<Tensor> {
        let queries = self.split(&self.project(x, 0, self.features)?)?;
        let mut attention = attention.clone();
        if self.options.dropout > 0.0 {
            let stream = self.randomness.stream("multi_head_attention", mode)?;
            attention.dropout = stream.map(|stream| (self.options.dropout, stream));
        }
        let found = self.turned(&queries, attention.offset)?.attention(keys, values, &attention)?;
        self.out.forward(&found.permute(&[0, 2, 1, 3])?.reshape(x.shape())?)
    }

    /// Each vector of x attends to those of `memory`; to x itself for self-attention.
    ///
    /// `x` `[B, Tq, E]`, `memory` `[B, Tk, E]` → `[B, Tq, E]`. `attention` says which keys count, how scores are
    /// scaled and what is added to them; its dropout is the layer's if that has one. With an `offset` the first
    /// query stands at that position, and the first key at 0.
    ///
    /// Errors: [`Error::Shape`]; [`Error::Argument`] for [`Mode::Train`] with dropout, which needs the step; those
    /// of [`Tensor::attention`].
    pub fn forward(&self, x: &Tensor, memory: &Tensor, attention: &Attention, mode: Mode) -> Result<Tensor> {
        let [keys, values] = self.keys(memory, 0)?;
        self.attend(x, [&keys, &values], attention, mode)
    }

    /// Self-attention of x, which goes on where the cache ends: causal, over what the cache holds and x, whose
    /// keys and values are put behind. Decoding step by step gives what one pass over everything gives.
    ///
    /// `x` `[B, T, E]`, one new vector or several → `[B, T, E]`. Nothing is dropped.
    ///
    /// Errors: [`Error::Shape`], also if the cache is of another batch.
    pub fn decode(&self, x: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        let offset = cache.len();
        let [keys, values] = self.keys(x, offset)?;
        let [keys, values] = cache.append(&keys, &values)?;
        let attention = Attention { causal: true, offset, ..Attention::default() };
        self.attend(x, [keys, values], &attention, Mode::Eval)
    }
}

/// Self-attention to all vectors.
impl Module for MultiHeadAttention {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        MultiHeadAttention::forward(self, x, x, &Attention::default(), mode)
    }
}

/// The keys and values of what a decoder has seen, for one layer.
#[derive(Clone, Debug, Default)]
pub struct KvCache {
    held: Option<[Tensor; 2]>,
}

impl KvCache {
    /// Nothing seen yet.
    pub fn new() -> Self {
        KvCache::default()
    }

    /// How many positions are held.
    pub fn len(&self) -> usize {
        self.held.as_ref().map_or(0, |[keys, _]| keys.shape()[2])
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys `[B, heads, T, D]` and values `[B, heads, T, Dv]`, if anything was appended.
    pub fn get(&self) -> Option<[&Tensor; 2]> {
        self.held.as_ref().map(|[keys, values]| [keys, values])
    }

    /// Puts keys and values behind those that are there, and gives all of them.
    ///
    /// Errors: [`Error::Shape`] if they differ in anything but time, in which case the cache stays as it was.
    pub fn append(&mut self, keys: &Tensor, values: &Tensor) -> Result<[&Tensor; 2]> {
        let joined = match &self.held {
            Some([k, v]) => [Tensor::concat(&[k, keys], 2)?, Tensor::concat(&[v, values], 2)?],
            None => [keys.clone(), values.clone()],
        };
        let [keys, values] = self.held.insert(joined);
        Ok([keys, values])
    }
}
