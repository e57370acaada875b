//! Recurrent layers with parameters: RNN, LSTM and GRU over sequences, of several layers, in one direction or
//! both; and their single steps.

use super::dropout::Dropout;
use super::init::{Init, Nonlinearity};
use super::module::{Mode, Module};
use super::parameter::Parameter;
use super::params::Params;
use crate::error::{Error, Result};
use crate::ops::dropout::check_probability;
use crate::ops::{Cell, RecurrentWeights, Sequence};
use crate::tensor::Tensor;

/// What the parameters of a recurrent layer start as, where that is not PyTorch's uniform in ±1/√H. Each gate is a
/// matrix of its own, and all biases are zero but the forget gate's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentInit {
    /// W of each gate, `[H, I]`.
    pub input: Init,
    /// U of each gate, `[H, H]`.
    pub hidden: Init,
    /// The bias of an LSTM's forget gate: it keeps half of its cell for ln ½/ln σ(b) steps at first (Gers et al.
    /// 2000; Jozefowicz et al. 2015). Nothing where there is no such gate, or no bias.
    pub forget: f64,
}

impl Default for RecurrentInit {
    /// Xavier's uniform W, orthogonal U, and a forget bias of 1.
    fn default() -> Self {
        let (input, hidden) = (Init::XavierUniform { gain: 1.0 }, Init::Orthogonal { gain: 1.0 });
        RecurrentInit { input, hidden, forget: 1.0 }
    }
}

/// How a recurrent layer is built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentOptions {
    /// How many layers, each reading the outputs of the one below.
    pub layers: usize,
    /// Whether W·x and U·h have biases.
    pub bias: bool,
    /// Whether inputs and outputs are `[B, T, ..]` instead of `[T, B, ..]`. States are `[.., B, H]` either way.
    pub batch_first: bool,
    /// The probability with which an output of a layer is left out of what the next one reads.
    pub dropout: f64,
    /// Whether each layer also runs from the end to the beginning; its outputs follow those of the other
    /// direction, `[.., 2·H]`.
    pub bidirectional: bool,
    /// What the parameters start as; as PyTorch's if `None`.
    pub init: Option<RecurrentInit>,
}

impl Default for RecurrentOptions {
    /// One layer with biases, in one direction, time first, started as PyTorch's.
    fn default() -> Self {
        RecurrentOptions {
            layers: 1,
            bias: true,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
            init: None,
        }
    }
}

/// The parameters of one direction of one layer, named as in PyTorch.
#[derive(Clone, Debug)]
struct Direction {
    input: Parameter,
    hidden: Parameter,
    bias: Option<[Parameter; 2]>,
}

impl Direction {
    /// Uniform in ±1/√H, as PyTorch starts them, unless `init` says otherwise.
    fn new(
        params: &Params,
        suffix: &str,
        cell: Cell,
        [inputs, hidden]: [usize; 2],
        (bias, init): (bool, Option<RecurrentInit>),
    ) -> Result<Self> {
        if hidden == 0 {
            let given = format!("{hidden} hidden units");
            return Err(Error::argument(cell.name(), given, "Give at least one."));
        }
        let (rows, bound) = (cell.gates() * hidden, 1.0 / (hidden as f64).sqrt());
        if let Some(own) = init {
            return Direction::started(params, suffix, cell, [inputs, hidden], (bias, own));
        }
        let init = Init::Uniform { low: -bound, high: bound };
        let define = |name: &str, shape: &[usize]| params.parameter(&format!("{name}{suffix}"), shape, init);
        let (input, recurrent) =
            (define("weight_ih", &[rows, inputs])?, define("weight_hh", &[rows, hidden])?);
        let bias = if bias { Some([define("bias_ih", &[rows])?, define("bias_hh", &[rows])?]) } else { None };
        Ok(Direction { input, hidden: recurrent, bias })
    }

    /// As `init` says.
    fn started(
        params: &Params,
        suffix: &str,
        cell: Cell,
        [inputs, hidden]: [usize; 2],
        (bias, init): (bool, RecurrentInit),
    ) -> Result<Self> {
        let gates = cell.gates();
        let weight = |name: &str, columns: usize, init: Init| {
            params.parts(&format!("{name}{suffix}"), gates, [hidden, columns], init)
        };
        let (input, recurrent) =
            (weight("weight_ih", inputs, init.input)?, weight("weight_hh", hidden, init.hidden)?);
        let zeros = |name: &str| params.parameter(&format!("{name}{suffix}"), [gates * hidden], Init::Zeros);
        let bias = if bias { Some([zeros("bias_ih")?, zeros("bias_hh")?]) } else { None };
        if let (Cell::Lstm, Some([own, _])) = (cell, &bias) {
            let now = own.get().detach();
            let forget = now.slice(0, hidden, 2 * hidden)?.full_like(init.forget)?;
            own.set(&now.slice_assign(&[hidden], &forget)?)?;
        }
        Ok(Direction { input, hidden: recurrent, bias })
    }

    /// In the type of the input, if that is f16.
    fn weights(&self, x: &Tensor) -> Result<RecurrentWeights> {
        let bias = match &self.bias {
            Some([input, hidden]) => Some([input.for_input(x)?, hidden.for_input(x)?]),
            None => None,
        };
        Ok(RecurrentWeights { input: self.input.for_input(x)?, hidden: self.hidden.for_input(x)?, bias })
    }
}

/// Layers one above the other; what the three kinds have in common.
#[derive(Clone, Debug)]
struct Stack {
    cell: Cell,
    options: RecurrentOptions,
    /// Layer by layer, within a layer forwards first: the order of the states.
    directions: Vec<Direction>,
    /// Between layers.
    dropouts: Vec<Dropout>,
}

impl Stack {
    fn new(
        params: &Params,
        cell: Cell,
        inputs: usize,
        hidden: usize,
        options: RecurrentOptions,
    ) -> Result<Self> {
        let op = cell.name();
        check_probability(op, options.dropout)?;
        if options.layers == 0 || (options.dropout > 0.0 && options.layers == 1) {
            return Err(Error::argument(
                op,
                format!("{} layers with dropout {}", options.layers, options.dropout),
                "Give at least one layer, and two for dropout, which stands between layers.",
            ));
        }
        let ways: &[&str] = if options.bidirectional { &["", "_reverse"] } else { &[""] };
        let (mut directions, mut dropouts) = (Vec::new(), Vec::new());
        for layer in 0..options.layers {
            let reads = if layer == 0 { inputs } else { ways.len() * hidden };
            for way in ways {
                let suffix = format!("_l{layer}{way}");
                let start = (options.bias, options.init);
                directions.push(Direction::new(params, &suffix, cell, [reads, hidden], start)?);
            }
            if layer + 1 < options.layers && options.dropout > 0.0 {
                dropouts.push(Dropout::new(&params.at(format!("dropout_l{layer}")), options.dropout)?);
            }
        }
        Ok(Stack { cell, options, directions, dropouts })
    }

    /// The outputs of the last layer, and the final states of all, `[S, layers·ways, B, H]`.
    fn forward(
        &self,
        x: &Tensor,
        initial: &[&Tensor],
        lengths: Option<&Tensor>,
        mode: Mode,
    ) -> Result<(Tensor, Tensor)> {
        let op = self.cell.name();
        if x.rank() != 3 {
            let remedy = "Give [T, B, I], or [B, T, I] with batch_first; unsqueeze a single sequence.";
            return Err(Error::shape(op, x.describe(), remedy));
        }
        for state in initial {
            if state.rank() != 3 || state.shape()[0] != self.directions.len() {
                return Err(Error::shape(
                    op,
                    format!(
                        "initial state {} for {} layers and ways",
                        state.describe(),
                        self.directions.len()
                    ),
                    "Give [layers·ways, B, H].",
                ));
            }
        }
        let mut y = if self.options.batch_first { x.transpose(0, 1)? } else { x.clone() };
        let ways = self.directions.len() / self.options.layers;
        let mut states = Vec::with_capacity(self.directions.len());
        for (layer, directions) in self.directions.chunks(ways).enumerate() {
            let mut outputs = Vec::with_capacity(ways);
            for (way, direction) in directions.iter().enumerate() {
                let number = layer * ways + way;
                let own: Vec<Tensor> =
                    initial.iter().map(|state| state.select(0, number)).collect::<Result<_>>()?;
                let initial = packed(&own.iter().collect::<Vec<_>>())?;
                let sequence = Sequence { initial, lengths: lengths.cloned(), reverse: way == 1 };
                let out = y.recurrent(self.cell, &direction.weights(&y)?, &sequence)?;
                outputs.push(out.y);
                states.push(out.state);
            }
            y = Tensor::concat(&outputs.iter().collect::<Vec<_>>(), 2)?;
            if let Some(dropout) = self.dropouts.get(layer) {
                y = dropout.forward(&y, mode)?;
            }
        }
        let y = if self.options.batch_first { y.transpose(0, 1)? } else { y };
        Ok((y, Tensor::stack(&states.iter().collect::<Vec<_>>(), 1)?))
    }
}

/// What an RNN or GRU computes.
#[derive(Clone, Debug)]
pub struct RnnOutput {
    /// h of the last layer after each step, `[T, B, ways·H]` (`[B, T, ways·H]` if batch first); zero from the
    /// end of each sequence on.
    pub y: Tensor,
    /// h after the last step of each sequence, `[layers·ways, B, H]`.
    pub h: Tensor,
}

/// What an LSTM computes.
#[derive(Clone, Debug)]
pub struct LstmOutput {
    /// h of the last layer after each step, as in [`RnnOutput`].
    pub y: Tensor,
    /// h after the last step of each sequence, `[layers·ways, B, H]`.
    pub h: Tensor,
    /// c after the last step of each sequence, `[layers·ways, B, H]`.
    pub c: Tensor,
}

/// The cell of an RNN: tanh or relu.
fn rnn_cell(nonlinearity: Nonlinearity) -> Result<Cell> {
    match nonlinearity {
        Nonlinearity::Tanh => Ok(Cell::Tanh),
        Nonlinearity::Relu => Ok(Cell::Relu),
        other => Err(Error::argument("rnn", format!("{other:?}"), "An RNN has Tanh or Relu.")),
    }
}

/// The plain recurrent network: h′ = tanh(W·x + b + U·h + b′), or relu.
///
/// Parameters `weight_ih_l0` `[H, I]`, `weight_hh_l0` `[H, H]`, `bias_ih_l0` and `bias_hh_l0` `[H]`, `_l1` and so
/// on for further layers, with `_reverse` behind those of the second direction: PyTorch's, also in shape.
#[derive(Clone, Debug)]
pub struct Rnn(Stack);

impl Rnn {
    /// One layer of `hidden` units with tanh.
    pub fn new(params: &Params, inputs: usize, hidden: usize) -> Result<Self> {
        Rnn::with(params, inputs, hidden, Nonlinearity::Tanh, RecurrentOptions::default())
    }

    /// As the options say, with tanh or relu.
    ///
    /// Errors: [`Error::Argument`] for another nonlinearity, no layers, no hidden units, or dropout that is no
    /// probability or has no layer above it.
    pub fn with(
        params: &Params,
        inputs: usize,
        hidden: usize,
        nonlinearity: Nonlinearity,
        options: RecurrentOptions,
    ) -> Result<Self> {
        Stack::new(params, rnn_cell(nonlinearity)?, inputs, hidden, options).map(Rnn)
    }

    /// The outputs and final states from x `[T, B, I]`, initial states `[layers·ways, B, H]` (zeros if there are
    /// none) and the lengths of the sequences, `[B]` i32 (all steps if there are none).
    ///
    /// Errors: those of [`Tensor::recurrent`]; [`Error::Argument`] for dropout in [`Mode::Train`].
    pub fn forward(
        &self,
        x: &Tensor,
        h: Option<&Tensor>,
        lengths: Option<&Tensor>,
        mode: Mode,
    ) -> Result<RnnOutput> {
        let (y, state) = self.0.forward(x, h.as_slice(), lengths, mode)?;
        Ok(RnnOutput { y, h: state.select(0, 0)? })
    }
}

/// The gated recurrent unit, [`Cell::Gru`]: gates in the order r, z, n along the rows of each weight.
///
/// Parameters as in [`Rnn`], with 3·H rows.
#[derive(Clone, Debug)]
pub struct Gru(Stack);

impl Gru {
    /// One layer of `hidden` units.
    pub fn new(params: &Params, inputs: usize, hidden: usize) -> Result<Self> {
        Gru::with(params, inputs, hidden, RecurrentOptions::default())
    }

    /// As the options say.
    ///
    /// Errors: those of [`Rnn::with`].
    pub fn with(params: &Params, inputs: usize, hidden: usize, options: RecurrentOptions) -> Result<Self> {
        Stack::new(params, Cell::Gru, inputs, hidden, options).map(Gru)
    }

    /// As [`Rnn::forward`].
    pub fn forward(
        &self,
        x: &Tensor,
        h: Option<&Tensor>,
        lengths: Option<&Tensor>,
        mode: Mode,
    ) -> Result<RnnOutput> {
        let (y, state) = self.0.forward(x, h.as_slice(), lengths, mode)?;
        Ok(RnnOutput { y, h: state.select(0, 0)? })
    }
}

/// Long short-term memory, [`Cell::Lstm`]: gates in the order i, f, g, o along the rows of each weight.
///
/// Parameters as in [`Rnn`], with 4·H rows. There are no peepholes and no projection of h.
#[derive(Clone, Debug)]
pub struct Lstm(Stack);

impl Lstm {
    /// One layer of `hidden` units.
    pub fn new(params: &Params, inputs: usize, hidden: usize) -> Result<Self> {
        Lstm::with(params, inputs, hidden, RecurrentOptions::default())
    }

    /// As the options say.
    ///
    /// Errors: those of [`Rnn::with`].
    pub fn with(params: &Params, inputs: usize, hidden: usize, options: RecurrentOptions) -> Result<Self> {
        Stack::new(params, Cell::Lstm, inputs, hidden, options).map(Lstm)
    }

    /// As [`Rnn::forward`], from h and c.
    pub fn forward(
        &self,
        x: &Tensor,
        state: Option<[&Tensor; 2]>,
        lengths: Option<&Tensor>,
        mode: Mode,
    ) -> Result<LstmOutput> {
        let (y, state) = self.0.forward(x, state.as_ref().map_or(&[], |state| &state[..]), lengths, mode)?;
        Ok(LstmOutput { y, h: state.select(0, 0)?, c: state.select(0, 1)? })
    }
}

macro_rules! modules {
    ($($name:ident),*) => {$(
        /// The outputs alone, from a state of zeros.
        impl Module for $name {
            fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
                Ok($name::forward(self, x, None, None, mode)?.y)
            }
        }
    )*};
}
modules!(Rnn, Gru, Lstm);

/// The vectors of a state as one tensor; none stands for zeros.
fn packed(state: &[&Tensor]) -> Result<Option<Tensor>> {
    if state.is_empty() { Ok(None) } else { Tensor::stack(state, 0).map(Some) }
}

/// One step: x `[B, I]` and the state, a `[B, H]` each, to the new state.
fn step(cell: Cell, direction: &Direction, x: &Tensor, state: &[&Tensor]) -> Result<Tensor> {
    if x.rank() != 2 {
        return Err(Error::shape(cell.name(), x.describe(), "Give a step [B, I]."));
    }
    let sequence = Sequence { initial: packed(state)?, ..Sequence::default() };
    Ok(x.unsqueeze(0)?.recurrent(cell, &direction.weights(x)?, &sequence)?.state)
}

/// A step of an [`Rnn`]. Parameters `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
#[derive(Clone, Debug)]
pub struct RnnCell {
    cell: Cell,
    direction: Direction,
}

impl RnnCell {
    /// Of `hidden` units, with tanh or relu.
    ///
    /// Errors: [`Error::Argument`] for another nonlinearity or no hidden units.
    pub fn new(params: &Params, inputs: usize, hidden: usize, nonlinearity: Nonlinearity) -> Result<Self> {
        let cell = rnn_cell(nonlinearity)?;
        Ok(RnnCell { cell, direction: Direction::new(params, "", cell, [inputs, hidden], (true, None))? })
    }

    /// The new h `[B, H]` from x `[B, I]` and h, zeros if there is none.
    pub fn forward(&self, x: &Tensor, h: Option<&Tensor>) -> Result<Tensor> {
        step(self.cell, &self.direction, x, h.as_slice())?.select(0, 0)
    }
}

/// A step of a [`Gru`]. Parameters as in [`RnnCell`].
#[derive(Clone, Debug)]
pub struct GruCell(Direction);

impl GruCell {
    /// Of `hidden` units.
    pub fn new(params: &Params, inputs: usize, hidden: usize) -> Result<Self> {
        Direction::new(params, "", Cell::Gru, [inputs, hidden], (true, None)).map(GruCell)
    }

    /// The new h `[B, H]` from x `[B, I]` and h, zeros if there is none.
    pub fn forward(&self, x: &Tensor, h: Option<&Tensor>) -> Result<Tensor> {
        step(Cell::Gru, &self.0, x, h.as_slice())?.select(0, 0)
    }
}

/// A step of an [`Lstm`]. Parameters as in [`RnnCell`].
#[derive(Clone, Debug)]
pub struct LstmCell(Direction);

impl LstmCell {
    /// Of `hidden` units.
    pub fn new(params: &Params, inputs: usize, hidden: usize) -> Result<Self> {
        Direction::new(params, "", Cell::Lstm, [inputs, hidden], (true, None)).map(LstmCell)
    }

    /// The new h and c, `[B, H]` each, from x `[B, I]` and the old ones, zeros if there are none.
    pub fn forward(&self, x: &Tensor, state: Option<[&Tensor; 2]>) -> Result<[Tensor; 2]> {
        let new = step(Cell::Lstm, &self.0, x, state.as_ref().map_or(&[], |state| &state[..]))?;
        Ok([new.select(0, 0)?, new.select(0, 1)?])
    }
}
