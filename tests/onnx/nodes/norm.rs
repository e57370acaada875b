//! Normalisations.

use super::{Answer, Call};
use gradus::Tensor;

pub fn run(call: &Call) -> Option<Answer> {
    Some(match call.node.op.as_str() {
        "BatchNormalization" => batch_norm(call),
        "LayerNormalization" => layer_norm(call),
        "RMSNormalization" => rms_norm(call),
        "GroupNormalization" => group_norm(call),
        "InstanceNormalization" => instance_norm(call),
        "LpNormalization" => lp_normalization(call),
        _ => return None,
    })
}

fn eps(call: &Call) -> f64 {
    call.number("epsilon", f64::from(1e-5f32))
}

fn batch_norm(call: &Call) -> Answer {
    let (x, scale, bias) = (call.float(0)?, call.float(1)?, call.float(2)?);
    let (mean, variance) = (call.float(3)?, call.float(4)?);
    if !call.flag("training_mode") {
        return Ok(vec![x.batch_norm_inference(&scale, &bias, &mean, &variance, eps(call))?]);
    }
    let out = x.batch_norm(&scale, &bias, eps(call))?;
    let momentum = call.number("momentum", 0.9);
    let running =
        |old: &Tensor, new: &Tensor| old.mul_scalar(momentum)?.add(&new.mul_scalar(1.0 - momentum)?);
    Ok(vec![out.y, running(&mean, &out.mean)?, running(&variance, &out.var)?])
}

/// How many of the last axes are normalised over.
fn axes(call: &Call, x: &Tensor) -> usize {
    match call.int("axis", -1) {
        axis if axis < 0 => -axis as usize,
        axis => x.rank() - axis as usize,
    }
}

fn layer_norm(call: &Call) -> Answer {
    let x = call.float(0)?;
    let axes = axes(call, &x);
    let y = x.layer_norm(axes, Some(&call.float(1)?), call.optional(2)?.as_ref(), eps(call))?;
    let over: Vec<isize> = (1..=axes as isize).map(|axis| -axis).collect();
    let mean = x.mean(&over, true)?;
    let variance = x.sub(&mean)?.square()?.mean(&over, true)?;
    let inverse = variance.add_scalar(eps(call))?.rsqrt()?;
    Ok(vec![y, mean, inverse])
}

fn rms_norm(call: &Call) -> Answer {
    let x = call.float(0)?;
    Ok(vec![x.rms_norm(axes(call, &x), Some(&call.float(1)?), eps(call))?])
}

fn group_norm(call: &Call) -> Answer {
    let groups = call.int("num_groups", 1) as usize;
    Ok(vec![call.float(0)?.group_norm(groups, Some(&call.float(1)?), Some(&call.float(2)?), eps(call))?])
}

fn instance_norm(call: &Call) -> Answer {
    Ok(vec![call.float(0)?.instance_norm(Some(&call.float(1)?), Some(&call.float(2)?), eps(call))?])
}

fn lp_normalization(call: &Call) -> Answer {
    let x = call.float(0)?;
    let axis = call.int("axis", -1) as isize;
    // A vector of zeros stays one.
    let norm = x.norm(call.int("p", 2) as f64, &[axis], true)?;
    Ok(vec![Tensor::map([&x, &norm], |[x, norm]| x / norm.max(1e-12))?])
}
