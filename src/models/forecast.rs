//! The next value of a series.

use super::recurrent::{Memory, RecurrentKind};
use crate::error::{Error, Result};
use crate::nn::{Linear, Mode, Module, Params};
use crate::tensor::Tensor;

/// How a [`Forecaster`] is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecasterOptions {
    /// What remembers.
    pub kind: RecurrentKind,
    /// Series that are read and foretold together.
    pub series: usize,
    /// Units of each layer.
    pub hidden: usize,
    /// How many layers.
    pub layers: usize,
    /// Whether the network foretells the change from the last value, which is then added to that. Most series stay
    /// near where they are, and persistence is the forecast to begin with.
    pub increment: bool,
}

impl ForecasterOptions {
    /// One series, one layer, foretelling the change.
    pub fn new(kind: RecurrentKind, hidden: usize) -> Self {
        ForecasterOptions { kind, series: 1, hidden, layers: 1, increment: true }
    }
}

/// The next value of a series, or of several at once, from a window of what came before: an LSTM or GRU reads the
/// window from a state of zeros, and a linear map of its last output is the forecast.
///
/// Windows `[B, W, series]` → `[B, series]`, for any W.
///
/// Parameters: `lstm.` or `gru.` with the names of [`Lstm`](crate::nn::Lstm) and [`Gru`](crate::nn::Gru);
/// `head.weight` `[series, hidden]`, `head.bias`.
///
/// ```
/// use gradus::models::{Forecaster, ForecasterOptions, RecurrentKind, windows};
/// use gradus::nn::{Mode, Params};
/// use gradus::{Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let series: Vec<f32> = (0..40).map(|t| (0.5 * t as f32).sin()).collect();
/// let (read, follow) = windows(&series, 8);
/// let device = Device::cpu();
/// let params = Params::new(&device, 1);
/// let model = Forecaster::new(&params, ForecasterOptions::new(RecurrentKind::Gru, 8))?;
/// let x = Tensor::from_slice(&device, &read, [32, 8, 1])?;
/// let loss = model.forward(&x, Mode::Eval)?.mse_loss(&Tensor::from_slice(&device, &follow, [32, 1])?)?;
/// assert!(loss.item()? < 1.0);
/// assert_eq!(**model.continued(&x.slice(0, 0, 1)?, 5)?.shape(), [1, 5, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Forecaster {
    memory: Memory,
    /// From hidden units to the forecast.
    pub head: Linear,
    /// How it was made.
    pub options: ForecasterOptions,
}

impl Forecaster {
    /// A model with parameters under the path of `params`.
    ///
    /// Errors: [`Error::Argument`] for no series, and those of [`Lstm::with`](crate::nn::Lstm::with).
    pub fn new(params: &Params, options: ForecasterOptions) -> Result<Self> {
        let ForecasterOptions { kind, series, hidden, layers, .. } = options;
        if series == 0 {
            return Err(Error::argument("forecaster", "no series", "Give at least one."));
        }
        Ok(Forecaster {
            memory: Memory::new(params, kind, [series, hidden, layers], 0.0)?,
            head: Linear::new(&params.at("head"), hidden, series)?,
            options,
        })
    }

    fn check(&self, windows: &Tensor) -> Result<usize> {
        match **windows.shape() {
            [_, steps, series] if steps > 0 && series == self.options.series => Ok(steps),
            _ => {
                let remedy = format!("Give [batch, window, {}], a step at least.", self.options.series);
                Err(Error::shape("forecaster", windows.describe(), remedy))
            }
        }
    }

    /// The value after each window, `[B, series]`.
    ///
    /// Errors: [`Error::Shape`].
    pub fn forward(&self, windows: &Tensor, mode: Mode) -> Result<Tensor> {
        let steps = self.check(windows)?;
        let (y, _) = self.memory.forward(windows, &[], mode)?;
        let foretold = self.head.forward(&y.select(1, steps - 1)?)?;
        if self.options.increment { foretold.add(&windows.select(1, steps - 1)?) } else { Ok(foretold) }
    }

    /// The next `count` values after each window, `[B, count, series]`: each forecast joins the window, from which the
    /// first value falls out.
    ///
    /// Errors: [`Error::Shape`]; [`Error::Argument`] for no values.
    pub fn continued(&self, windows: &Tensor, count: usize) -> Result<Tensor> {
        let steps = self.check(windows)?;
        let mut all = windows.detach();
        for n in 0..count {
            let next = self.forward(&all.slice(1, n, n + steps)?, Mode::Eval)?.detach();
            all = Tensor::concat(&[&all, &next.unsqueeze(1)?], 1)?;
        }
        if count == 0 {
            return Err(Error::argument("forecaster", "no values to foretell", "Ask for one at least."));
        }
        all.slice(1, steps, steps + count)
    }
}

/// The value after each window.
impl Module for Forecaster {
    fn forward(&self, windows: &Tensor, mode: Mode) -> Result<Tensor> {
        Forecaster::forward(self, windows, mode)
    }
}

/// Every window of `length` values of a series that has a value behind it, one after the other, and those values.
/// With n values there are n − `length` windows; none if the series is too short.
///
/// ```
/// assert_eq!(gradus::models::windows(&[1, 2, 3, 4], 2), (vec![1, 2, 2, 3], vec![3, 4]));
/// ```
pub fn windows<T: Copy>(series: &[T], length: usize) -> (Vec<T>, Vec<T>) {
    let count = series.len().saturating_sub(length);
    let read = (0..count).flat_map(|at| &series[at..at + length]).copied().collect();
    (read, series[series.len() - count..].to_vec())
}
