//! One step of each kind of cell, and the gradient of its gates: the mathematics, over any [`Real`].

use crate::real::Real;

/// What a recurrent layer computes in a step, from its projected input x = W·input + b and the state h (and
/// c) before it.
///
/// Gates stand in PyTorch's order along the first axis of every weight. `RecurrentWeights::reordered` takes
/// in those of other orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// h′ = tanh(x + U·h + b). Elman 1990.
    Tanh,
    /// h′ = max(x + U·h + b, 0).
    Relu,
    /// Long short-term memory, gates i, f, g, o: c′ = σ(f)·c + σ(i)·tanh(g), h′ = σ(o)·tanh c′. Hochreiter
    /// and Schmidhuber 1997, with the forget gate of Gers et al. 2000; no peepholes.
    Lstm,
    /// Gated recurrent unit, gates r, z, n: n = tanh(x_n + σ(r)·(U_n·h + b_n)), h′ = n + σ(z)·(h − n). Cho et
    /// al. 2014, reset behind the product as in PyTorch and cuDNN; ONNX calls it `linear_before_reset` = 1.
    Gru,
    /// The GRU as Cho et al. print it: n = tanh(x_n + U_n·(σ(r)·h) + b_n). The reset stands inside the product,
    /// so a step is two products one after the other, and no fused kernel: this cell is composed of tensor
    /// operations. ONNX's default, `linear_before_reset` = 0.
    GruResetBefore,
}

impl Cell {
    /// The name of the operation, in errors and tables.
    pub fn name(self) -> &'static str {
        match self {
            Cell::Tanh | Cell::Relu => "rnn",
            Cell::Lstm => "lstm",
            Cell::Gru | Cell::GruResetBefore => "gru",
        }
    }

    /// How many gates there are: a weight has as many rows for each hidden unit.
    pub fn gates(self) -> usize {
        match self {
            Cell::Tanh | Cell::Relu => 1,
            Cell::Lstm => 4,
            Cell::Gru | Cell::GruResetBefore => 3,
        }
    }

    /// How many vectors the state has: h, and for an LSTM c.
    pub fn states(self) -> usize {
        if self == Cell::Lstm { 2 } else { 1 }
    }

    /// How many numbers the fused step leaves for its gradient, for each hidden unit.
    pub(super) fn saved(self) -> usize {
        match self {
            Cell::Lstm => 5,
            Cell::Gru => 4,
            _ => 0,
        }
    }

    /// How many numbers the gradient of a step has for each hidden unit: the gates, of which the GRU's n
    /// counts twice, with the reset and without.
    pub(super) fn planes(self) -> usize {
        if self == Cell::Gru { 4 } else { self.gates() }
    }

    /// The new state of one hidden unit, and what its gradient reads. `product(g)` is U·h + b for gate g, `x(g)`
    /// the projected input.
    pub(super) fn step<R: Real>(
        self,
        [h, c]: [R; 2],
        product: impl Fn(usize) -> R,
        x: impl Fn(usize) -> R,
    ) -> ([R; 2], [R; 5]) {
        let gate = |g: usize| product(g) + x(g);
        let zero = R::default();
        match self {
            Cell::Tanh => ([gate(0).tanh(), zero], [zero; 5]),
            Cell::Relu => ([gate(0).max(zero), zero], [zero; 5]),
            Cell::Lstm => {
                let [i, f, o] = [0, 1, 3].map(|g| sigmoid(gate(g)));
                let g = gate(2).tanh();
                let c = f * c + i * g;
                let t = c.tanh();
                ([o * t, c], [i, f, g, o, t])
            }
            Cell::Gru | Cell::GruResetBefore => {
                let [r, z] = [0, 1].map(|g| sigmoid(gate(g)));
                let q = product(2);
                let n = (x(2) + r * q).tanh();
                ([n + z * (h - n), zero], [r, z, n, q, zero])
            }
        }
    }

    /// The gradients of the gates of one hidden unit, and what passes by them to the state before, from the
    /// gradients `dh` and `dc` behind the step. `before` and `after` are the states, `saved` is from
    /// [`step`](Self::step).
    pub(super) fn gradient<R: Real>(
        self,
        [dh, dc]: [R; 2],
        before: [R; 2],
        after: [R; 2],
        saved: [R; 5],
    ) -> ([R; 4], [R; 2]) {
        let (zero, one) = (R::default(), R::from_f64(1.0));
        let slope = |s: R| s * (one - s);
        match self {
            Cell::Tanh => ([dh * (one - after[0] * after[0]), zero, zero, zero], [zero; 2]),
            Cell::Relu => ([R::select(zero.less(after[0]), dh, zero), zero, zero, zero], [zero; 2]),
            Cell::Lstm => {
                let [i, f, g, o, t] = saved;
                let dc = dc + dh * o * (one - t * t);
                let di = dc * g * slope(i);
                let df = dc * before[1] * slope(f);
                let dg = dc * i * (one - g * g);
                ([di, df, dg, dh * t * slope(o)], [zero, dc * f])
            }
            Cell::Gru | Cell::GruResetBefore => {
                let [r, z, n, q, _] = saved;
                let dn = dh * (one - z) * (one - n * n);
                let dr = dn * q * slope(r);
                let dz = dh * (before[0] - n) * slope(z);
                ([dr, dz, dn * r, dn], [dh * z, zero])
            }
        }
    }
}

/// 1 / (1 + exp(−x)), without overflow: e = exp(−|x|), and for x < 0 the identity σ(x) = e/(1 + e).
fn sigmoid<R: Real>(x: R) -> R {
    let one = R::from_f64(1.0);
    let e = (-x.abs()).exp();
    R::select(x.less(R::default()), e, one) / (one + e)
}
