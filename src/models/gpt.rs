//! A language model of the GPT family.

use super::generation::{Generation, Reader};
use super::sampling::Sampling;
use crate::error::{Error, Result};
use crate::nn::{
    Dropout, Embedding, Init, KvCache, LayerInit, LayerNorm, Linear, Mode, Module, Params,
    TransformerEncoderLayer, TransformerOptions,
};
use crate::ops::Attention;
use crate::tensor::Tensor;

/// How large a [`Gpt`] is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GptOptions {
    /// How many different tokens there are.
    pub vocabulary: usize,
    /// How many positions it has learned: the most tokens that are seen at once.
    pub context: usize,
    /// How many layers.
    pub layers: usize,
    /// Features, heads and what else each layer has.
    pub features: usize,
    /// Heads, hidden features, activation and dropout of a layer. `norm_first` is on in [`new`](Self::new).
    pub layer: TransformerOptions,
}

impl GptOptions {
    /// Layers of `features` features and `heads` heads with 4·`features` hidden ones and ReLU between, norms in
    /// front of each branch, no dropout.
    pub fn new(vocabulary: usize, context: usize, layers: usize, features: usize, heads: usize) -> Self {
        let layer = TransformerOptions { norm_first: true, ..TransformerOptions::new(heads, 4 * features) };
        GptOptions { vocabulary, context, layers, features, layer }
    }

    /// Drops elements with probability `p` while learning: of the embedding, of each branch and of the attention.
    pub fn dropout(mut self, p: f64) -> Self {
        self.layer.dropout = p;
        self.layer.attention.dropout = p;
        self
    }
}

/// A causal Transformer over tokens (Radford et al. 2018 and 2019): token and position vectors are added, layers of
/// self-attention to what came before refine them, and a linear map of the normalised result gives the logits of
/// the next token.
///
/// Tokens `[B, T]` i32 → logits `[B, T, vocabulary]`, those at position t for the token at t + 1; they depend on
/// the tokens up to t alone.
///
/// Parameters: `tokens.weight` `[vocabulary, E]`, `positions.weight` `[context, E]`; for each layer `layers.N.` with
/// the names of [`TransformerEncoderLayer`]; `norm.weight`, `norm.bias`; `head.weight` `[vocabulary, E]`. The two
/// tables and the head start as normal numbers of standard deviation 0.02, as GPT-2's, the layers as those of
/// [`nn`](crate::nn). The head has no bias and is not tied to the table of tokens.
///
/// ```
/// use gradus::models::{Gpt, GptOptions, Sampling};
/// use gradus::nn::{Mode, Params};
/// use gradus::optim::{Adam, Optimizer};
/// use gradus::{Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let device = Device::cpu();
/// let params = Params::new(&device, 1);
/// let gpt = Gpt::new(&params, GptOptions::new(5, 8, 1, 16, 2))?;
/// let mut adam = Adam::new(&params, 1e-2)?;
/// let x = Tensor::from_slice(&device, &[0, 1, 2, 3, 4, 0, 1, 2], [1, 8])?;
/// let next = Tensor::from_slice(&device, &[1, 2, 3, 4, 0, 1, 2, 3], [1, 8])?;
/// for _ in 0..60 {
///     adam.step(&gpt.loss(&x, &next, Mode::Train)?.backward()?)?;
/// }
/// // A beginning that it has seen: positions are learned too.
/// let counted: Vec<i32> = gpt.generate(&[0, 1, 2], Sampling::greedy())?.take(4).collect::<Result<_, _>>()?;
/// assert_eq!(counted, [3, 4, 0, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Gpt {
    /// The vectors of the tokens.
    pub tokens: Embedding,
    /// The vectors of the positions.
    pub positions: Embedding,
    /// What lies between the embedding and the last norm.
    pub layers: Vec<TransformerEncoderLayer>,
    /// The last norm.
    pub norm: LayerNorm,
    /// From features to logits.
    pub head: Linear,
    /// How large it is.
    pub options: GptOptions,
    dropout: Dropout,
}

impl Gpt {
    /// A model with parameters under the path of `params`.
    ///
    /// Errors: [`Error::Argument`] for sizes of zero, and those of [`TransformerEncoderLayer::new`].
    pub fn new(params: &Params, options: GptOptions) -> Result<Self> {
        let GptOptions { vocabulary, context, layers, features, layer } = options;
        if vocabulary == 0 || context == 0 || layers == 0 {
            let given = format!("{vocabulary} tokens, {context} positions, {layers} layers");
            return Err(Error::argument("gpt", given, "Give at least one of each."));
        }
        let init = Init::Normal { mean: 0.0, std: 0.02 };
        let of_layer =
            |n: usize| TransformerEncoderLayer::new(&params.at(format!("layers.{n}")), features, layer);
        Ok(Gpt {
            tokens: Embedding::with(&params.at("tokens"), vocabulary, features, init)?,
            positions: Embedding::with(&params.at("positions"), context, features, init)?,
            layers: (0..layers).map(of_layer).collect::<Result<_>>()?,
            norm: LayerNorm::new(&params.at("norm"), [features])?,
            head: Linear::with(
                &params.at("head"),
                features,
                vocabulary,
                LayerInit { weight: init, ..LayerInit::without_bias() },
            )?,
            dropout: Dropout::new(&params.at("dropout"), layer.dropout)?,
            options,
        })
    }

    fn embed(&self, tokens: &Tensor, first: usize) -> Result<Tensor> {
        let end = first + tokens.shape().get(1).copied().unwrap_or(0);
        if tokens.rank() != 2 || end > self.options.context {
            return Err(Error::shape(
                "gpt",
                format!("tokens {} from position {first} on, of {}", tokens.describe(), self.options.context),
                "Give [batch, time] within the context.",
            ));
        }
        let places = Tensor::arange(tokens.device(), first as i32, end as i32)?;
        self.tokens.forward(tokens)?.add(&self.positions.forward(&places)?)
    }

    /// The logits of the tokens that follow, `[B, T, vocabulary]`, for tokens `[B, T]`.
    ///
    /// Errors: [`Error::Shape`] for more tokens than the context; [`Error::Index`] for a token that does not exist;
    /// [`Error::Argument`] for dropout in [`Mode::Train`], which names no step.
    pub fn forward(&self, tokens: &Tensor, mode: Mode) -> Result<Tensor> {
        let causal = Attention { causal: true, ..Attention::default() };
        let x = self.dropout.forward(&self.embed(tokens, 0)?, mode)?;
        let x = self.layers.iter().try_fold(x, |x, layer| layer.forward(&x, &causal, mode))?;
        self.head.forward(&self.norm.forward(&x)?)
    }

    /// The mean cross-entropy of the tokens that follow, in nats: `tokens` and `next` are `[B, T]`.
    ///
    /// Errors: those of [`forward`](Self::forward); [`Error::Shape`] if the two are not alike.
    pub fn loss(&self, tokens: &Tensor, next: &Tensor, mode: Mode) -> Result<Tensor> {
        let logits = self.forward(tokens, mode)?;
        logits
            .reshape([tokens.count(), self.options.vocabulary])?
            .cross_entropy(&next.reshape([next.count()])?)
    }

    /// [`forward`](Self::forward) to use, for new tokens alone: they go on where the caches end, one for each
    /// layer, which then hold them too.
    ///
    /// Errors: those of [`forward`](Self::forward); [`Error::Argument`] for another number of caches.
    pub fn decode(&self, tokens: &Tensor, caches: &mut [KvCache]) -> Result<Tensor> {
        if caches.len() != self.layers.len() {
            let given = format!("{} caches for {} layers", caches.len(), self.layers.len());
            return Err(Error::argument("gpt", given, "Give one for each layer."));
        }
        let mut x = self.embed(tokens, caches[0].len())?;
        for (layer, cache) in self.layers.iter().zip(caches) {
            x = layer.decode(&x, cache)?;
        }
        self.head.forward(&self.norm.forward(&x)?)
    }

    /// What follows `prompt`, one token after the other, through a cache of keys and values.
    ///
    /// Errors: [`Error::Argument`] for an empty prompt.
    pub fn generate(&self, prompt: &[i32], sampling: Sampling) -> Result<Generation<GptReader<'_>>> {
        Generation::new(self.reader(), prompt, sampling)
    }

    /// A reader that has read nothing yet.
    pub fn reader(&self) -> GptReader<'_> {
        GptReader { gpt: self, caches: vec![KvCache::new(); self.layers.len()], seen: Vec::new() }
    }
}

/// The logits of all positions.
impl Module for Gpt {
    fn forward(&self, tokens: &Tensor, mode: Mode) -> Result<Tensor> {
        Gpt::forward(self, tokens, mode)
    }
}

/// A [`Gpt`] with the keys and values of what it has read.
///
/// Positions are learned up to the context and no further. When that is full, the reader forgets all but the last
/// half of it, and reads that again from position 0 on.
#[derive(Clone, Debug)]
pub struct GptReader<'a> {
    gpt: &'a Gpt,
    caches: Vec<KvCache>,
    /// The tokens that the caches hold.
    seen: Vec<i32>,
}

impl GptReader<'_> {
    /// The tokens that the next one is predicted from.
    pub fn seen(&self) -> &[i32] {
        &self.seen
    }
}

impl Reader for GptReader<'_> {
    fn read(&mut self, tokens: &[i32]) -> Result<Vec<f64>> {
        let context = self.gpt.options.context;
        let mut first = self.seen.len();
        self.seen.extend_from_slice(tokens);
        if self.seen.len() > context {
            self.seen.drain(..self.seen.len() - context.div_ceil(2));
            self.caches = vec![KvCache::new(); self.gpt.layers.len()];
            first = 0;
        }
        let weight = self.gpt.tokens.weight.get();
        let new = Tensor::from_slice(weight.device(), &self.seen[first..], [1, self.seen.len() - first])?;
        let logits = self.gpt.decode(&new, &mut self.caches)?.detach();
        let last = logits.shape()[1];
        logits.slice(1, last - 1, last)?.to_f64()
    }
}
