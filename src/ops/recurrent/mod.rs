//! Recurrent layers: RNN, LSTM and GRU over whole sequences.
//!
//! The inputs of all steps are projected by one product before the first step. A step is then one launch:
//! the product of the state with the recurrent weights, the gates, and the new state. Back through time it is
//! one launch a step again, which leaves the gradients of the gates; those of the weights are one product
//! over all steps at the end. [`forward`] and [`backward`] are these two operations, [`cell`] the mathematics
//! of a step, [`compose`] the same in tensor operations, which is the path to higher derivatives.
//!
//! The states of a sequence are kept as one tensor `[S, T + 1, B, H]`, S being 2 for an LSTM (h, c), else 1, in
//! the order of time, with the initial state in front, or behind where time runs backwards. Outputs and final
//! states are views of it.
//!
//! A worst-case bound compounds from step to step. Cases have few steps and small weights; over long
//! sequences each step is checked from the state that the device itself produced (`tests/recurrent.rs`).

mod backward;
mod cases;
mod cell;
mod compose;
mod forward;

pub(super) use self::cases::rooms;
pub use self::cell::Cell;
use self::compose::{running, unroll};
use self::forward::{Forward, Kind};
use super::index::in_range;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The weights of one direction of one recurrent layer, in PyTorch's layout and gate order.
#[derive(Clone, Debug)]
pub struct RecurrentWeights {
    /// W, `[G·H, I]`: PyTorch's `weight_ih`.
    pub input: Tensor,
    /// U, `[G·H, H]`: PyTorch's `weight_hh`.
    pub hidden: Tensor,
    /// What is added to W·x and to U·h, `[G·H]` each: `bias_ih` and `bias_hh`.
    pub bias: Option<[Tensor; 2]>,
}

impl RecurrentWeights {
    /// Takes in weights whose gates stand in another order: gate g here is gate `order[g]` of what was given.
    ///
    /// ONNX keeps an LSTM's gates as i, o, f, c, which is `[0, 2, 3, 1]`, and a GRU's as z, r, h: `[1, 0, 2]`.
    ///
    /// Errors: [`Error::Argument`] if `order` is not a permutation; [`Error::Shape`] if the gates do not
    /// divide the rows.
    pub fn reordered(&self, order: &[usize]) -> Result<Self> {
        let gates = order.len();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if gates == 0 || sorted.into_iter().ne(0..gates) {
            let given = format!("gate order {order:?}");
            return Err(Error::argument("recurrent", given, "Name each gate exactly once, from 0."));
        }
        let turn = |t: &Tensor| {
            let rows = t.shape().first().copied().unwrap_or(0);
            if !rows.is_multiple_of(gates) {
                let given = format!("{} with {gates} gates", t.describe());
                return Err(Error::shape("recurrent", given, "The first axis has G·H rows."));
            }
            let hidden = rows / gates;
            let parts: Vec<Tensor> =
                order.iter().map(|g| t.slice(0, g * hidden, (g + 1) * hidden)).collect::<Result<_>>()?;
            Tensor::concat(&parts.iter().collect::<Vec<_>>(), 0)
        };
        let bias = match &self.bias {
            Some([input, hidden]) => Some([turn(input)?, turn(hidden)?]),
            None => None,
        };
        Ok(RecurrentWeights { input: turn(&self.input)?, hidden: turn(&self.hidden)?, bias })
    }
}

/// How a sequence is run through.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// The state before the first step, `[S, B, H]`: h, and behind it c for an LSTM. Zeros if there is none.
    pub initial: Option<Tensor>,
    /// How many steps each sequence has, `[B]` i32 from 0 to T; T for all if there is none.
    pub lengths: Option<Tensor>,
    /// From the last step to the first.
    pub reverse: bool,
}

/// What a recurrent layer computes.
#[derive(Clone, Debug)]
pub struct RecurrentOutput {
    /// h after each step, `[T, B, H]`, zero from the end of each sequence on.
    pub y: Tensor,
    /// The state after the last step of each sequence, `[S, B, H]`: h, and behind it c for an LSTM.
    pub state: Tensor,
}

impl Tensor {
    /// One direction of one recurrent layer over whole sequences; [`Cell`] has the equations.
    ///
    /// `self` `[T, B, I]` float, time first → y `[T, B, H]` and the final state `[S, B, H]`. With lengths, what
    /// lies beyond the end of a sequence is not read, y is zero there, and the final state is that of its
    /// last step; in reverse the sequence begins at its own last step. The gradient reaches self, all
    /// weights and the initial state. On a GPU one launch a step each way, and one matrix product for the
    /// inputs of all steps.
    ///
    /// For f16 the products with the inputs and what is returned are rounded to f16, the steps themselves
    /// are in f32.
    ///
    /// Errors: [`Error::Shape`], [`Error::DType`], [`Error::Device`]; [`Error::Index`] for a length outside
    /// 0..=T.
    pub fn recurrent(
        &self,
        cell: Cell,
        weights: &RecurrentWeights,
        sequence: &Sequence,
    ) -> Result<RecurrentOutput> {
        let op = cell.name();
        let hidden = check(op, cell, self, weights, sequence)?;
        let (steps, batch) = (self.shape()[0], self.shape()[1]);
        let kind = Kind { cell, reverse: sequence.reverse };
        let wide = cell.gates() * hidden;
        // One matrix of all steps and sequences: many rows share the weights of a tile.
        let (w, x) = (weights.input.t()?, self.reshape([steps * batch, self.shape()[2]])?);
        let (x, bias) = match &weights.bias {
            Some([input, hidden]) => (x.matmul_bias(&w, input)?, hidden.clone()),
            None => (x.matmul(&w)?, self.like(Shape::known(&[wide]), 0.0)?),
        };
        let initial = match &sequence.initial {
            Some(initial) => initial.clone(),
            None => self.like(Shape::new(&[cell.states(), batch, hidden])?, 0.0)?,
        };
        let lengths = sequence.lengths.as_ref().map(|l| in_range(op, l, steps + 1)).transpose()?;
        // The states of f16 sequences are not rounded at each step: a step reads what the last one left.
        let float = self.dtype().wide();
        let inputs = [x.reshape([steps, batch, wide])?, weights.hidden.t()?, bias, initial];
        let inputs: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(float)).collect::<Result<_>>()?;
        let states = if cell == Cell::GruResetBefore {
            unroll(kind, &inputs, None, &lengths)?
        } else {
            let all: Vec<&Tensor> = inputs.iter().chain(&lengths).collect();
            op::apply(Forward(kind), &all)?.swap_remove(0)
        };
        let after = kind.afters(steps);
        let mut y = states.select(0, 0)?.slice(0, after.start, after.end)?;
        if let Some(lengths) = &lengths {
            y = running(lengths, steps, &y)?.where_(&y, &y.full_like(0.0)?)?;
        }
        let last = if sequence.reverse { 0 } else { steps };
        let state = states.select(1, last)?.to_dtype(self.dtype())?;
        Ok(RecurrentOutput { y: y.to_dtype(self.dtype())?, state })
    }
}

/// Holds the call against the layer's shapes; how many hidden units there are.
fn check(
    op: &'static str,
    cell: Cell,
    x: &Tensor,
    weights: &RecurrentWeights,
    sequence: &Sequence,
) -> Result<usize> {
    x.require_float(op)?;
    let wrong = |what: &str, given: &Tensor, wanted: String| {
        Err(Error::shape(op, format!("{what} {}", given.describe()), wanted))
    };
    if x.rank() != 3 {
        return wrong("input", x, "Give [T, B, I]: time, batch, features.".into());
    }
    let (batch, inputs) = (x.shape()[1], x.shape()[2]);
    let (w, u, gates) = (&weights.input, &weights.hidden, cell.gates());
    if u.rank() != 2 || u.shape()[1] == 0 || u.shape()[0] != gates * u.shape()[1] {
        return wrong("hidden weight", u, format!("Give [{gates}·H, H]: {gates} gates for H hidden units."));
    }
    let hidden = u.shape()[1];
    if **w.shape() != [gates * hidden, inputs] {
        return wrong("input weight", w, format!("Give [{}, {inputs}] for this input.", gates * hidden));
    }
    for bias in weights.bias.iter().flatten() {
        if **bias.shape() != [gates * hidden] {
            return wrong("bias", bias, format!("Give [{}], one entry for each gate.", gates * hidden));
        }
    }
    if let Some(initial) = &sequence.initial
        && **initial.shape() != [cell.states(), batch, hidden]
    {
        let wanted = format!("Give [{}, {batch}, {hidden}]: h, and c for an LSTM.", cell.states());
        return wrong("initial state", initial, wanted);
    }
    if let Some(lengths) = &sequence.lengths {
        if lengths.dtype() != DType::I32 {
            return Err(Error::dtype(op, format!("lengths {}", lengths.describe()), "Lengths are i32."));
        }
        if **lengths.shape() != [batch] {
            return wrong("lengths", lengths, format!("Give [{batch}], one for each sequence."));
        }
    }
    Ok(hidden)
}
