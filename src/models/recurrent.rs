//! Language models with a recurrent memory.

use super::generation::{Generation, Reader};
use super::sampling::Sampling;
use crate::error::{Error, Result};
use crate::nn::{Embedding, Gru, Linear, Lstm, Mode, Module, Params, RecurrentOptions};
use crate::tensor::Tensor;

/// What remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecurrentKind {
    /// Long short-term memory.
    #[default]
    Lstm,
    /// The gated recurrent unit.
    Gru,
}

/// Either kind of layer, batch first; its state is one tensor for each of h and c.
#[derive(Clone, Debug)]
pub(super) enum Memory {
    Lstm(Lstm),
    Gru(Gru),
}

impl Memory {
    /// Named after its kind: `lstm` or `gru`.
    pub fn new(
        params: &Params,
        kind: RecurrentKind,
        [inputs, hidden, layers]: [usize; 3],
        dropout: f64,
    ) -> Result<Self> {
        let options = RecurrentOptions { layers, dropout, batch_first: true, ..RecurrentOptions::default() };
        Ok(match kind {
            RecurrentKind::Lstm => Memory::Lstm(Lstm::with(&params.at("lstm"), inputs, hidden, options)?),
            RecurrentKind::Gru => Memory::Gru(Gru::with(&params.at("gru"), inputs, hidden, options)?),
        })
    }

    /// The outputs of all steps, and the state behind the last.
    pub fn forward(&self, x: &Tensor, state: &[Tensor], mode: Mode) -> Result<(Tensor, Vec<Tensor>)> {
        match self {
            Memory::Lstm(lstm) => {
                let state = if let [h, c] = state { Some([h, c]) } else { None };
                let out = lstm.forward(x, state, None, mode)?;
                Ok((out.y, vec![out.h, out.c]))
            }
            Memory::Gru(gru) => {
                let out = gru.forward(x, state.first(), None, mode)?;
                Ok((out.y, vec![out.h]))
            }
        }
    }
}

/// How large a [`RecurrentLanguageModel`] is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentModelOptions {
    /// How many different tokens there are.
    pub vocabulary: usize,
    /// What remembers.
    pub kind: RecurrentKind,
    /// Numbers of a token's vector.
    pub features: usize,
    /// Units of each layer.
    pub hidden: usize,
    /// How many layers.
    pub layers: usize,
    /// The probability with which an output of a layer is left out of what the next one reads.
    pub dropout: f64,
}

impl RecurrentModelOptions {
    /// One layer, no dropout.
    pub fn new(vocabulary: usize, kind: RecurrentKind, features: usize, hidden: usize) -> Self {
        RecurrentModelOptions { vocabulary, kind, features, hidden, layers: 1, dropout: 0.0 }
    }
}

/// A language model with an LSTM or a GRU: vectors of tokens, recurrent layers, and a linear map to the logits of the
/// next token.
///
/// Tokens `[B, T]` i32 → logits `[B, T, vocabulary]`, those at position t for the token at t + 1.
///
/// Parameters: `tokens.weight` `[vocabulary, features]`; `lstm.` or `gru.` with the names of [`Lstm`] and [`Gru`];
/// `head.weight` `[vocabulary, hidden]`, `head.bias`. All start as in [`nn`](crate::nn).
///
/// ```
/// use gradus::models::{RecurrentKind, RecurrentLanguageModel, RecurrentModelOptions, Sampling};
/// use gradus::nn::{Mode, Params};
/// use gradus::{Device, Tensor, ops::Stream};
/// # fn main() -> gradus::Result<()> {
/// let params = Params::new(&Device::cpu(), 1);
/// let options = RecurrentModelOptions::new(5, RecurrentKind::Gru, 8, 16);
/// let model = RecurrentLanguageModel::new(&params, options)?;
/// let x = Tensor::from_slice(&Device::cpu(), &[0, 1, 2, 3, 4, 0], [2, 3])?;
/// assert_eq!(**model.forward(&x, Mode::Eval)?.shape(), [2, 3, 5]);
/// let drawn = model.generate(&[0], Sampling::new(Stream::new(1, 0)).top_k(2))?.take(3);
/// assert_eq!(drawn.collect::<Result<Vec<_>, _>>()?.len(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RecurrentLanguageModel {
    /// The vectors of the tokens.
    pub tokens: Embedding,
    memory: Memory,
    /// From hidden units to logits.
    pub head: Linear,
    /// How large it is.
    pub options: RecurrentModelOptions,
}

impl RecurrentLanguageModel {
    /// A model with parameters under the path of `params`.
    ///
    /// Errors: [`Error::Argument`] for no tokens, and those of [`Lstm::with`].
    pub fn new(params: &Params, options: RecurrentModelOptions) -> Result<Self> {
        let RecurrentModelOptions { vocabulary, kind, features, hidden, layers, dropout } = options;
        if vocabulary == 0 {
            return Err(Error::argument("recurrent_language_model", "no tokens", "Give at least one."));
        }
        Ok(RecurrentLanguageModel {
            tokens: Embedding::new(&params.at("tokens"), vocabulary, features)?,
            memory: Memory::new(params, kind, [features, hidden, layers], dropout)?,
            head: Linear::new(&params.at("head"), hidden, vocabulary)?,
            options,
        })
    }

    /// The logits of the tokens that follow, `[B, T, vocabulary]`, for tokens `[B, T]`, from a state of zeros.
    ///
    /// Errors: [`Error::Shape`]; [`Error::Index`] for a token that does not exist; [`Error::Argument`] for dropout in
    /// [`Mode::Train`], which names no step.
    pub fn forward(&self, tokens: &Tensor, mode: Mode) -> Result<Tensor> {
        Ok(self.forward_from(tokens, &[], mode)?.0)
    }

    /// [`forward`](Self::forward) from a state, with the state behind the last token: h for a GRU, h and c for an
    /// LSTM, each `[layers, B, hidden]`; none for zeros. Detach a state that ends a truncated stretch of learning.
    ///
    /// Errors: those of [`forward`](Self::forward).
    pub fn forward_from(
        &self,
        tokens: &Tensor,
        state: &[Tensor],
        mode: Mode,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        if tokens.rank() != 2 {
            return Err(Error::shape("recurrent_language_model", tokens.describe(), "Give [batch, time]."));
        }
        let (y, state) = self.memory.forward(&self.tokens.forward(tokens)?, state, mode)?;
        Ok((self.head.forward(&y)?, state))
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

    /// What follows `prompt`, one token after the other.
    ///
    /// Errors: [`Error::Argument`] for an empty prompt.
    pub fn generate(&self, prompt: &[i32], sampling: Sampling) -> Result<Generation<RecurrentReader<'_>>> {
        Generation::new(self.reader(), prompt, sampling)
    }

    /// A reader that has read nothing yet.
    pub fn reader(&self) -> RecurrentReader<'_> {
        RecurrentReader { model: self, state: Vec::new() }
    }
}

/// The logits of all positions, from a state of zeros.
impl Module for RecurrentLanguageModel {
    fn forward(&self, tokens: &Tensor, mode: Mode) -> Result<Tensor> {
        RecurrentLanguageModel::forward(self, tokens, mode)
    }
}

/// A [`RecurrentLanguageModel`] with its state behind what it has read, however long that was.
#[derive(Clone, Debug)]
pub struct RecurrentReader<'a> {
    model: &'a RecurrentLanguageModel,
    state: Vec<Tensor>,
}

impl Reader for RecurrentReader<'_> {
    fn read(&mut self, tokens: &[i32]) -> Result<Vec<f64>> {
        let weight = self.model.tokens.weight.get();
        let new = Tensor::from_slice(weight.device(), tokens, [1, tokens.len()])?;
        let (logits, state) = self.model.forward_from(&new, &self.state, Mode::Eval)?;
        // Without this the graph of the whole text would stay.
        self.state = state.iter().map(Tensor::detach).collect();
        let last = tokens.len();
        logits.detach().slice(1, last - 1, last)?.to_f64()
    }
}
