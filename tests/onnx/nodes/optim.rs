//! Optimisers: one step from the state that the case gives.

use super::{Answer, Call};
use gradus::nn::{Init, Params};
use gradus::optim::{Adagrad, Adam, Optimizer, Sgd, State};
use gradus::{DType, Formula, Result, Tensor};
use std::collections::BTreeMap;

pub fn run(call: &Call) -> Option<Answer> {
    Some(match call.node.op.as_str() {
        "Adagrad" => step(call, "adagrad", &["sum"]),
        "Adam" => step(call, "adam", &["m", "v"]),
        "Momentum" => step(call, "sgd", &["velocity"]),
        _ => return None,
    })
}

/// Inputs are the rate, the step counted from zero, then all parameters, all gradients, and all states of
/// each kind; outputs the parameters and the states.
fn step(call: &Call, kind: &str, names: &[&str]) -> Answer {
    let count = (call.node.inputs.len() - 2) / (2 + names.len());
    let given = |kind: usize, i: usize| call.float(2 + kind * count + i);
    let lr = call.stored(0).data[0];
    let mut updated: Vec<Vec<Tensor>> = vec![vec![]; 1 + names.len()];
    for i in 0..count {
        let states = (0..names.len()).map(|s| given(2 + s, i)).collect::<Answer>()?;
        let (p, g) = (given(0, i)?, given(1, i)?);
        let after = match p.dtype() {
            DType::Bounded => formula(call, kind, lr, &p, &g, &states)?,
            _ => trained(call, kind, lr, &p, &g, (names, &states))?,
        };
        updated.iter_mut().zip(after).for_each(|(list, tensor)| list.push(tensor));
    }
    Ok(updated.concat())
}

/// By the optimiser itself.
fn trained(
    call: &Call,
    kind: &str,
    lr: f64,
    p: &Tensor,
    g: &Tensor,
    (names, states): (&[&str], &[Tensor]),
) -> Result<Vec<Tensor>> {
    let params = if p.dtype() == DType::F64 { Params::new_f64(0) } else { Params::new(p.device(), 0) };
    let parameter = params.parameter("p", p.shape(), Init::Zeros)?;
    parameter.set(p)?;
    let decay = call.number("norm_coefficient", 0.0);
    let (alpha, beta) = (call.number("alpha", 0.9), call.number("beta", 0.999));
    let epsilon = call.number("epsilon", 0.0);
    // A state is that of a parameter that has taken a step, so this is the second. At ONNX's step zero the rate
    // has not decayed, and Adam leaves out the corrections 1 − αᵗ and 1 − βᵗ: rate and ε take them back.
    let root = (1.0 - beta * beta).sqrt();
    let mut optimizer: Box<dyn Optimizer> = match kind {
        "adam" => Box::new(
            Adam::new(&params, lr * (1.0 - alpha * alpha) / root)?
                .betas(alpha, beta)?
                .eps(epsilon / root)?
                .weight_decay(decay)?,
        ),
        "adagrad" => Box::new(Adagrad::new(&params, lr)?.eps(epsilon)?.weight_decay(decay)?),
        _ if call.text("mode", "standard") == "nesterov" => {
            Box::new(Sgd::new(&params, lr)?.nesterov(alpha)?.weight_decay(decay)?)
        }
        _ => Box::new(Sgd::new(&params, lr)?.momentum(alpha)?.weight_decay(decay)?),
    };
    let tensors: BTreeMap<String, Tensor> =
        names.iter().zip(states).map(|(name, state)| (format!("p.{name}"), state.clone())).collect();
    let state =
        State { kind: kind.into(), lr: optimizer.lr(), steps: BTreeMap::from([("p".into(), 1)]), tensors };
    optimizer.restore(&state)?;
    optimizer.step(&parameter.get().mul(g)?.sum(&[], false)?.backward()?)?;
    let after = optimizer.state();
    let states = names.iter().map(|name| after.tensors[&format!("p.{name}")].clone());
    Ok([parameter.get().detach()].into_iter().chain(states).collect())
}

/// By ONNX's formula, for the bound: parameters carry none.
fn formula(
    call: &Call,
    kind: &str,
    lr: f64,
    p: &Tensor,
    g: &Tensor,
    states: &[Tensor],
) -> Result<Vec<Tensor>> {
    let decay = call.number("norm_coefficient", 0.0);
    let (alpha, beta) = (call.number("alpha", 0.9), call.number("beta", 0.999));
    let epsilon = call.number("epsilon", 0.0);
    let g = Tensor::map([g, p], |[g, p]| g + decay * p)?;
    let mixed = |share: f64, old: &Tensor, new: &Tensor| {
        Tensor::map([old, new], |[old, new]| share * old + (1.0 - share) * new)
    };
    let moved = |by: &Tensor, root: &Tensor| {
        Tensor::map([p, by, root], |[p, by, root]| p - Formula::constant(lr) * by / (root.sqrt() + epsilon))
    };
    Ok(match kind {
        "adam" => {
            let (m, v) = (mixed(alpha, &states[0], &g)?, mixed(beta, &states[1], &g.square()?)?);
            vec![moved(&m, &v)?, m, v]
        }
        "adagrad" => {
            let sum = states[0].add(&g.square()?)?;
            vec![moved(&g, &sum)?, sum]
        }
        _ => {
            let v = Tensor::map([&states[0], &g], |[v, g]| alpha * v + g)?;
            let by = if call.text("mode", "standard") == "nesterov" {
                Tensor::map([&g, &v], |[g, v]| g + alpha * v)?
            } else {
                v.clone()
            };
            vec![Tensor::map([p, &by], |[p, by]| p - lr * by)?, v]
        }
    })
}
