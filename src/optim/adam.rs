//! Adam, and Adam with decoupled weight decay.

use super::slots::{self, Rule, Slots, StateOf, Turn};
use crate::autodiff::At;
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::nn::Params;
use crate::op::{Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static ADAM: Shader = shader!("optim/adam.wgsl");

/// What tells Adam from AdamW, and each from another of its kind.
#[derive(Clone, Copy)]
pub(super) struct AdamRule {
    kind: &'static str,
    decoupled: bool,
    beta1: f64,
    beta2: f64,
    eps: f64,
}

impl AdamRule {
    /// AdamW as Muon uses it for what is no matrix.
    pub(super) fn vectors() -> Self {
        AdamRule { kind: "muon", decoupled: true, beta1: 0.9, beta2: 0.95, eps: 1e-8 }
    }
}

impl Rule for AdamRule {
    fn state(&self, shape: &Shape) -> Vec<StateOf> {
        vec![("m", *shape), ("v", *shape)]
    }

    fn in_place(&self) -> bool {
        true
    }

    fn update(&self, turn: Turn, p: &Tensor, g: &Tensor, state: &mut [Tensor]) -> Result<Tensor> {
        slots::apply(AdamStep::new(*self, turn), p, g, state)
    }
}

macro_rules! adam {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $decoupled:literal, decay $decay:literal;)*) => {$(
        $(#[$doc])*
        pub struct $name {
            slots: Slots,
            rule: AdamRule,
        }

        impl $name {
            /// For the trained parameters that `params` sees now, with β = (0.9, 0.999) and ε = 1e-8.
            ///
            /// Errors: [`Error::Argument`] if there are none, or for a rate that is negative or not finite.
            pub fn new(params: &Params, lr: f64) -> Result<Self> {
                let mut slots = Slots::new($kind, params, lr)?;
                slots.set_decay($decay)?;
                let rule =
                    AdamRule { kind: $kind, decoupled: $decoupled, beta1: 0.9, beta2: 0.999, eps: 1e-8 };
                Ok($name { slots, rule })
            }

            /// How much of the averages of gradients and of their squares a step keeps, each in [0, 1).
            pub fn betas(mut self, beta1: f64, beta2: f64) -> Result<Self> {
                self.rule.beta1 = slots::share($kind, "beta1", beta1)?;
                self.rule.beta2 = slots::share($kind, "beta2", beta2)?;
                Ok(self)
            }

            /// Added to the root of the second average; positive.
            pub fn eps(mut self, eps: f64) -> Result<Self> {
                self.rule.eps = slots::positive($kind, "eps", eps)?;
                Ok(self)
            }
        }
        slots::optimizers!($name);
    )*};
}
adam! {
    /// Adam: each element moves by its own share of the learning rate, the average of its gradients over
    /// the root of the average of their squares.
    ///
    /// For step t, with weight decay λ added to the gradient (none by default) as PyTorch does:
    /// g ← g + λp; m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; p ← p − lr·m̂/(√v̂ + ε), where
    /// m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ). Each parameter counts its own steps.
    /// Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
    Adam, "adam", false, decay 0.0;
    /// AdamW: [`Adam`] whose weight decay (0.01 by default) shrinks the parameter itself,
    /// p ← (1 − lr·λ)p, instead of passing through the averages.
    ///
    /// Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2, with the decay times the
    /// learning rate, as in PyTorch.
    AdamW, "adamw", true, decay 0.01;
}

/// One step of either, (p, g, m, v) → (p, m, v), with all that is the same for every element worked out:
///
/// lr·m̂/(√v̂ + ε) = lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε) = a·m/(b·√v + ε)
pub(super) struct AdamStep {
    kind: &'static str,
    coupled_decay: f64,
    shrink: f64,
    beta1: f64,
    beta2: f64,
    step_size: f64,
    root_scale: f64,
    eps: f64,
}

impl AdamStep {
    fn new(rule: AdamRule, turn: Turn) -> Self {
        let AdamRule { kind, decoupled, beta1, beta2, eps } = rule;
        AdamStep {
            kind,
            coupled_decay: if decoupled { 0.0 } else { turn.decay },
            shrink: if decoupled { 1.0 - turn.lr * turn.decay } else { 1.0 },
            beta1,
            beta2,
            step_size: turn.lr / unbiased(beta1, turn.t),
            root_scale: 1.0 / unbiased(beta2, turn.t).sqrt(),
            eps,
        }
    }

    /// A step for the cases.
    pub(super) fn example(decoupled: bool, decay: f64, t: u64) -> Self {
        let rule = AdamRule { kind: "adam", decoupled, beta1: 0.9, beta2: 0.99, eps: 1e-6 };
        AdamStep::new(rule, Turn { t, lr: 0.05, decay })
    }
}

/// What an average that started from zero has gathered of one after t steps: 1 − βᵗ.
pub(super) fn unbiased(beta: f64, t: u64) -> f64 {
    1.0 - beta.powf(t as f64)
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AdamParams {
    count: u32,
    coupled_decay: f32,
    shrink: f32,
    beta1: f32,
    fresh1: f32,
    beta2: f32,
    fresh2: f32,
    step_size: f32,
    root_scale: f32,
    eps: f32,
}

impl Op for AdamStep {
    fn name(&self) -> &'static str {
        self.kind
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        slots::rule(self.kind, inputs)
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let [p, g, m, v] = std::array::from_fn(|k| &inputs.real(k).data);
        let shape = outputs[0].shape;
        let number = R::from_f64;
        let gradient = |i: usize| g[i] + number(self.coupled_decay) * p[i];
        let average = |beta: f64, old: R, new: R| number(beta) * old + number(1.0 - beta) * new;
        let m = Array::from_fn(shape, |i| average(self.beta1, m[i], gradient(i)));
        let v = Array::from_fn(shape, |i| average(self.beta2, v[i], gradient(i) * gradient(i)));
        let p = Array::from_fn(shape, |i| {
            let root = number(self.root_scale) * v.data[i].sqrt() + number(self.eps);
            number(self.shrink) * p[i] - number(self.step_size) * m.data[i] / root
        });
        [p, m, v].map(Data::Real).into()
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let ([p, g, m, v], [q, m_next, v_next]) = (inputs, outputs) else {
            return Err(Error::argument(self.kind, "other than p, g, m, v", "Give all four."));
        };
        slots::start_from(gpu, m_next, m)?;
        slots::start_from(gpu, v_next, v)?;
        let (count, at_once) = slots::by_fours(p.shape());
        let params = AdamParams {
            count: count as u32,
            coupled_decay: self.coupled_decay as f32,
            shrink: self.shrink as f32,
            beta1: self.beta1 as f32,
            fresh1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            fresh2: (1.0 - self.beta2) as f32,
            step_size: self.step_size as f32,
            root_scale: self.root_scale as f32,
            eps: self.eps as f32,
        };
        gpu.dispatch(Dispatch {
            op: self.kind,
            source: Source::File(&ADAM, &[("X", at_once)]),
            params: bytemuck::bytes_of(&params),
            buffers: &[&p.buffer, &g.buffer, &m_next.buffer, &v_next.buffer, &q.buffer],
            groups: gpu.fold(count, 256),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    fn vjp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Err(slots::no_gradient(self.kind))
    }

    fn jvp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Err(slots::no_gradient(self.kind))
    }
}
