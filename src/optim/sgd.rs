//! Stochastic gradient descent, with momentum or without.

use super::slots::{self, Rule, Slots, StateOf, Turn};
use crate::autodiff::At;
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::nn::Params;
use crate::op::{Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static SGD: Shader = shader!("optim/sgd.wgsl");

/// Stochastic gradient descent.
///
/// With weight decay λ and momentum μ, both zero by default: d = g + λp; v ← μv + d, from v = 0; then
/// p ← p − lr·v, or with Nesterov's momentum p ← p − lr·(d + μv). Without momentum there is no state.
/// Source: Sutskever, Martens, Dahl and Hinton 2013, "On the importance of initialization and momentum in
/// deep learning", in PyTorch's form: v is not yet scaled by the learning rate, and dampening is 0.
pub struct Sgd {
    slots: Slots,
    rule: SgdRule,
}

#[derive(Clone, Copy)]
struct SgdRule {
    momentum: f64,
    nesterov: bool,
}

impl Sgd {
    /// For the trained parameters that `params` sees now.
    ///
    /// Errors: [`Error::Argument`] if there are none, or for a rate that is negative or not finite.
    pub fn new(params: &Params, lr: f64) -> Result<Self> {
        let rule = SgdRule { momentum: 0.0, nesterov: false };
        Ok(Sgd { slots: Slots::new("sgd", params, lr)?, rule })
    }

    /// How much of the velocity a step keeps, in [0, 1).
    pub fn momentum(mut self, momentum: f64) -> Result<Self> {
        self.rule.momentum = slots::share("sgd", "momentum", momentum)?;
        Ok(self)
    }

    /// Momentum that looks ahead.
    pub fn nesterov(mut self, momentum: f64) -> Result<Self> {
        self.rule.nesterov = true;
        self.momentum(momentum)
    }
}
slots::optimizers!(Sgd);

impl Rule for SgdRule {
    fn state(&self, shape: &Shape) -> Vec<StateOf> {
        if self.momentum > 0.0 { vec![("velocity", *shape)] } else { vec![] }
    }

    fn in_place(&self) -> bool {
        true
    }

    fn update(&self, turn: Turn, p: &Tensor, g: &Tensor, state: &mut [Tensor]) -> Result<Tensor> {
        let SgdRule { momentum, nesterov } = *self;
        let Turn { lr, decay, .. } = turn;
        if state.is_empty() {
            return plain(lr, decay, p, g);
        }
        slots::apply(SgdStep { lr, momentum, nesterov, weight_decay: decay }, p, g, state)
    }
}

/// p − lr·(g + λp): without state, the step is a pointwise function like any other.
pub(super) fn plain(lr: f64, weight_decay: f64, p: &Tensor, g: &Tensor) -> Result<Tensor> {
    let [lr, decay] = [lr, weight_decay].map(Formula::scalar);
    Tensor::map([p, g], |[p, g]| {
        let d = if weight_decay == 0.0 { g } else { g + decay * p.clone() };
        p - lr * d
    })
}

/// One step with momentum, (p, g, v) → (p, v).
pub(super) struct SgdStep {
    pub lr: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub weight_decay: f64,
}

impl SgdStep {
    /// p moves by lr·(a·d + b·v): a and b.
    fn mix(&self) -> (f64, f64) {
        if self.nesterov { (1.0, self.momentum) } else { (0.0, 1.0) }
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct SgdParams {
    count: u32,
    decay: f32,
    momentum: f32,
    lr: f32,
    of_gradient: f32,
    of_velocity: f32,
}

impl Op for SgdStep {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        slots::rule("sgd", inputs)
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let [p, g, v] = std::array::from_fn(|k| &inputs.real(k).data);
        let shape = outputs[0].shape;
        let [lr, momentum, decay] = [self.lr, self.momentum, self.weight_decay].map(R::from_f64);
        let d = |i: usize| g[i] + decay * p[i];
        let v = Array::from_fn(shape, |i| momentum * v[i] + d(i));
        let p = Array::from_fn(shape, |i| {
            let v = v.data[i];
            p[i] - lr * if self.nesterov { d(i) + momentum * v } else { v }
        });
        [p, v].map(Data::Real).into()
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let ([p, g, v], [q, v_next]) = (inputs, outputs) else {
            return Err(Error::argument("sgd", "other than p, g, v", "Give all three."));
        };
        slots::start_from(gpu, v_next, v)?;
        let ((count, at_once), (of_gradient, of_velocity)) = (slots::by_fours(p.shape()), self.mix());
        let params = SgdParams {
            count: count as u32,
            decay: self.weight_decay as f32,
            momentum: self.momentum as f32,
            lr: self.lr as f32,
            of_gradient: of_gradient as f32,
            of_velocity: of_velocity as f32,
        };
        gpu.dispatch(Dispatch {
            op: "sgd",
            source: Source::File(&SGD, &[("X", at_once)]),
            params: bytemuck::bytes_of(&params),
            buffers: &[&p.buffer, &g.buffer, &v_next.buffer, &q.buffer],
            groups: gpu.fold(count, 256),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    fn vjp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Err(slots::no_gradient("sgd"))
    }

    fn jvp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Err(slots::no_gradient("sgd"))
    }
}
