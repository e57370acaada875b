//! Optimisers whose update of each state is a formula: RMSProp, Adagrad, Adadelta, Lion.

use super::slots::{self, Rule, Slots, StateOf, Turn};
use crate::error::Result;
use crate::formula::Formula;
use crate::nn::Params;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// g + λp, with no term where there is no decay.
fn decayed(g: Formula, p: Formula, decay: f64) -> Formula {
    if decay == 0.0 { g } else { g + Formula::scalar(decay) * p }
}

/// What an average that keeps the share `beta` of itself becomes.
fn average(beta: f64, old: Formula, new: Formula) -> Formula {
    Formula::scalar(beta) * old + Formula::scalar(1.0 - beta) * new
}

/// RMSProp: each element moves by its gradient over the root of the average of its squares.
///
/// With weight decay λ: g ← g + λp; v ← αv + (1 − α)g²; d = g/(√v + ε), or, centred, with the average m of g,
/// g/(√(v − m²) + ε); p ← p − lr·d, or with momentum b ← μb + d and p ← p − lr·b.
/// Source: Hinton 2012, "Neural networks for machine learning", lecture 6e, in PyTorch's form; centred: Graves
/// 2013, arXiv:1308.0850.
pub struct RmsProp {
    slots: Slots,
    rule: RmsPropRule,
}

#[derive(Clone, Copy)]
pub(super) struct RmsPropRule {
    pub alpha: f64,
    pub eps: f64,
    pub momentum: f64,
    pub centred: bool,
}

impl RmsProp {
    /// For the trained parameters that `params` sees now, with α = 0.99 and ε = 1e-8.
    ///
    /// Errors: [`Error::Argument`](crate::Error::Argument) if there are none, or for a rate that is negative or
    /// not finite.
    pub fn new(params: &Params, lr: f64) -> Result<Self> {
        let rule = RmsPropRule { alpha: 0.99, eps: 1e-8, momentum: 0.0, centred: false };
        Ok(RmsProp { slots: Slots::new("rmsprop", params, lr)?, rule })
    }

    /// How much of the average of squares a step keeps, in [0, 1).
    pub fn alpha(mut self, alpha: f64) -> Result<Self> {
        self.rule.alpha = slots::share("rmsprop", "alpha", alpha)?;
        Ok(self)
    }

    /// Added to the root; positive.
    pub fn eps(mut self, eps: f64) -> Result<Self> {
        self.rule.eps = slots::positive("rmsprop", "eps", eps)?;
        Ok(self)
    }

    /// How much of the velocity a step keeps, in [0, 1).
    pub fn momentum(mut self, momentum: f64) -> Result<Self> {
        self.rule.momentum = slots::share("rmsprop", "momentum", momentum)?;
        Ok(self)
    }

    /// Divides by the deviation of the gradients instead of the root of their mean square.
    pub fn centred(mut self) -> Self {
        self.rule.centred = true;
        self
    }
}

impl Rule for RmsPropRule {
    fn state(&self, shape: &Shape) -> Vec<StateOf> {
        let with = |wanted: bool, name| wanted.then_some((name, *shape));
        let all =
            [Some(("square", *shape)), with(self.centred, "mean"), with(self.momentum > 0.0, "velocity")];
        all.into_iter().flatten().collect()
    }

    fn update(&self, turn: Turn, p: &Tensor, g: &Tensor, state: &mut [Tensor]) -> Result<Tensor> {
        let (alpha, decay) = (self.alpha, turn.decay);
        state[0] =
            Tensor::map([&state[0], g, p], |[v, g, p]| average(alpha, v, decayed(g, p, decay).square()))?;
        if self.centred {
            state[1] = Tensor::map([&state[1], g, p], |[m, g, p]| average(alpha, m, decayed(g, p, decay)))?;
        }
        // Without centring the square stands in for the mean, which is not read.
        let mean = if self.centred { &state[1] } else { &state[0] };
        let (eps, lr) = (|| Formula::scalar(self.eps), || Formula::scalar(turn.lr));
        let step = |[v, m, g, p]: [Formula; 4]| {
            // A variance is not negative, but its difference may come out so.
            let square = if self.centred { (v - m.square()).max(0.0) } else { v };
            decayed(g, p, decay) / (square.sqrt() + eps())
        };
        if self.momentum == 0.0 {
            return Tensor::map([&state[0], mean, g, p], |[v, m, g, p]| {
                p.clone() - lr() * step([v, m, g, p])
            });
        }
        let momentum = Formula::scalar(self.momentum);
        let last = state.len() - 1;
        state[last] = Tensor::map([&state[0], mean, g, p, &state[last]], |[v, m, g, p, b]| {
            momentum * b + step([v, m, g, p])
        })?;
        Tensor::map([p, &state[last]], |[p, b]| p - lr() * b)
    }
}

/// Adagrad: each element moves by its gradient over the root of the sum of the squares of all there were.
///
/// With weight decay λ: g ← g + λp; s ← s + g²; p ← p − lr/(1 + (t − 1)·η)·g/(√s + ε).
/// Source: Duchi, Hazan and Singer 2011, JMLR 12, in PyTorch's form.
pub struct Adagrad {
    slots: Slots,
    rule: AdagradRule,
}

#[derive(Clone, Copy)]
pub(super) struct AdagradRule {
    pub lr_decay: f64,
    pub eps: f64,
}

impl Adagrad {
    /// For the trained parameters that `params` sees now, with ε = 1e-10 and η = 0.
    ///
    /// Errors: [`Error::Argument`](crate::Error::Argument) if there are none, or for a rate that is negative or
    /// not finite.
    pub fn new(params: &Params, lr: f64) -> Result<Self> {
        let rule = AdagradRule { lr_decay: 0.0, eps: 1e-10 };
        Ok(Adagrad { slots: Slots::new("adagrad", params, lr)?, rule })
    }

    /// How fast the learning rate falls, η.
    pub fn lr_decay(mut self, lr_decay: f64) -> Result<Self> {
        self.rule.lr_decay = slots::not_negative("adagrad", "decay of the learning rate", lr_decay)?;
        Ok(self)
    }

    /// Added to the root; positive.
    pub fn eps(mut self, eps: f64) -> Result<Self> {
        self.rule.eps = slots::positive("adagrad", "eps", eps)?;
        Ok(self)
    }
}

impl Rule for AdagradRule {
    fn state(&self, shape: &Shape) -> Vec<StateOf> {
        vec![("sum", *shape)]
    }

    fn update(&self, turn: Turn, p: &Tensor, g: &Tensor, state: &mut [Tensor]) -> Result<Tensor> {
        let decay = turn.decay;
        state[0] = Tensor::map([&state[0], g, p], |[s, g, p]| s + decayed(g, p, decay).square())?;
        let lr = Formula::scalar(turn.lr / (1.0 + (turn.t - 1) as f64 * self.lr_decay));
        Tensor::map([p, g, &state[0]], |[p, g, s]| {
            p.clone() - lr * decayed(g, p, decay) / (s.sqrt() + Formula::scalar(self.eps))
        })
    }
}

/// Adadelta: the unit of a step is the root of the average of earlier steps' squares.
///
/// With weight decay λ: g ← g + λp; v ← ρv + (1 − ρ)g²; d = √(u + ε)/√(v + ε)·g; u ← ρu + (1 − ρ)d²;
/// p ← p − lr·d. Source: Zeiler 2012, arXiv:1212.5701, with a learning rate as in PyTorch.
pub struct Adadelta {
    slots: Slots,
    rule: AdadeltaRule,
}

#[derive(Clone, Copy)]
pub(super) struct AdadeltaRule {
    pub rho: f64,
    pub eps: f64,
}

impl Adadelta {
    /// For the trained parameters that `params` sees now, with ρ = 0.9 and ε = 1e-6; the usual rate is 1.
    ///
    /// Errors: [`Error::Argument`](crate::Error::Argument) if there are none, or for a rate that is negative or
    /// not finite.
    pub fn new(params: &Params, lr: f64) -> Result<Self> {
        let rule = AdadeltaRule { rho: 0.9, eps: 1e-6 };
        Ok(Adadelta { slots: Slots::new("adadelta", params, lr)?, rule })
    }

    /// How much of both averages a step keeps, in [0, 1).
    pub fn rho(mut self, rho: f64) -> Result<Self> {
        self.rule.rho = slots::share("adadelta", "rho", rho)?;
        Ok(self)
    }

    /// Added under the roots; positive.
    pub fn eps(mut self, eps: f64) -> Result<Self> {
        self.rule.eps = slots::positive("adadelta", "eps", eps)?;
        Ok(self)
    }
}

impl Rule for AdadeltaRule {
    fn state(&self, shape: &Shape) -> Vec<StateOf> {
        vec![("square", *shape), ("step", *shape)]
    }

    fn update(&self, turn: Turn, p: &Tensor, g: &Tensor, state: &mut [Tensor]) -> Result<Tensor> {
        let (rho, decay) = (self.rho, turn.decay);
        let eps = || Formula::scalar(self.eps);
        state[0] =
            Tensor::map([&state[0], g, p], |[v, g, p]| average(rho, v, decayed(g, p, decay).square()))?;
        let step = Tensor::map([&state[0], &state[1], g, p], |[v, u, g, p]| {
            (u + eps()).sqrt() / (v + eps()).sqrt() * decayed(g, p, decay)
        })?;
        state[1] = Tensor::map([&state[1], &step], |[u, d]| average(rho, u, d.square()))?;
        Tensor::map([p, &step], |[p, d]| p - Formula::scalar(turn.lr) * d)
    }
}

/// Lion: every element moves by the learning rate, in the direction of an average of its gradients.
///
/// With decoupled weight decay λ (0.01 by default is common; here 0): d = sign(β₁m + (1 − β₁)g);
/// p ← (1 − lr·λ)p − lr·d; m ← β₂m + (1 − β₂)g. The usual rate is a third to a tenth of Adam's.
/// Source: Chen et al. 2023, arXiv:2302.06675, algorithm 2.
pub struct Lion {
    slots: Slots,
    rule: LionRule,
}

#[derive(Clone, Copy)]
pub(super) struct LionRule {
    pub beta1: f64,
    pub beta2: f64,
}

impl Lion {
    /// For the trained parameters that `params` sees now, with β = (0.9, 0.99) and no weight decay.
    ///
    /// Errors: [`Error::Argument`](crate::Error::Argument) if there are none, or for a rate that is negative or
    /// not finite.
    pub fn new(params: &Params, lr: f64) -> Result<Self> {
        Ok(Lion { slots: Slots::new("lion", params, lr)?, rule: LionRule { beta1: 0.9, beta2: 0.99 } })
    }

    /// How much of the average counts in a step, and how much of it a step keeps, each in [0, 1).
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Result<Self> {
        self.rule.beta1 = slots::share("lion", "beta1", beta1)?;
        self.rule.beta2 = slots::share("lion", "beta2", beta2)?;
        Ok(self)
    }
}

impl Rule for LionRule {
    fn state(&self, shape: &Shape) -> Vec<StateOf> {
        vec![("m", *shape)]
    }

    fn update(&self, turn: Turn, p: &Tensor, g: &Tensor, state: &mut [Tensor]) -> Result<Tensor> {
        let (lr, shrink) = (Formula::scalar(turn.lr), Formula::scalar(1.0 - turn.lr * turn.decay));
        let next =
            Tensor::map([p, g, &state[0]], |[p, g, m]| shrink * p - lr * average(self.beta1, m, g).sign())?;
        // The step reads the average as it was before.
        next.view()?;
        state[0] = Tensor::map([&state[0], g], |[m, g]| average(self.beta2, m, g))?;
        Ok(next)
    }
}

slots::optimizers!(RmsProp, Adagrad, Adadelta, Lion);
