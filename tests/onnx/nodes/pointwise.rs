//! Functions of one element at a time.

use super::{Answer, Call};
use gradus::{Formula, Result, Tensor};

pub fn run(call: &Call) -> Option<Answer> {
    Some(match call.node.op.as_str() {
        "Add" => fold(call, Tensor::add),
        "Sub" => fold(call, Tensor::sub),
        "Mul" => fold(call, Tensor::mul),
        "Div" => fold(call, Tensor::div),
        "Max" => fold(call, Tensor::maximum),
        "Min" => fold(call, Tensor::minimum),
        "Sum" => fold(call, Tensor::add),
        "Mean" => {
            let count = call.node.inputs.len() as f64;
            fold(call, Tensor::add).and_then(|sum| Ok(vec![sum[0].mul_scalar(1.0 / count)?]))
        }
        "PRelu" => fold(call, |x, slope| {
            Tensor::map([x, slope], |[x, slope]| Formula::select(x.clone().less(0.0), slope * x.clone(), x))
        }),
        "Equal" => fold(call, Tensor::equal),
        "Less" => fold(call, Tensor::less),
        "Greater" => fold(call, |a, b| b.less(a)),
        "LessOrEqual" => fold(call, |a, b| not(&b.less(a)?)),
        "GreaterOrEqual" => fold(call, |a, b| not(&a.less(b)?)),
        "Where" => selection(call),
        "Clip" => clip(call),
        "Identity" => call.x(0).map(|x| vec![x]),
        _ => return unary(call),
    })
}

fn not(mask: &Tensor) -> Result<Tensor> {
    Tensor::map([mask], |[mask]| 1.0 - mask)
}

fn fold(call: &Call, f: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Answer {
    let mut result = call.float(0)?;
    for index in 1..call.node.inputs.len() {
        result = f(&result, &call.float(index)?)?;
    }
    Ok(vec![result])
}

fn selection(call: &Call) -> Answer {
    let yes = call.float(1)?;
    Ok(vec![call.x(0)?.to_dtype(yes.dtype())?.where_(&yes, &call.float(2)?)?])
}

fn clip(call: &Call) -> Answer {
    let mut x = call.float(0)?;
    if call.has(1) {
        x = x.maximum(&call.float(1)?)?;
    }
    if call.has(2) {
        x = x.minimum(&call.float(2)?)?;
    }
    Ok(vec![x])
}

fn unary(call: &Call) -> Option<Answer> {
    let (op, number) = (call.node.op.as_str(), |name, default| call.number(name, default));
    let alpha = |default| number("alpha", default);
    let map = |f: &dyn Fn(&Tensor) -> Result<Tensor>| -> Answer { Ok(vec![f(&call.float(0)?)?]) };
    Some(match op {
        "Abs" => map(&Tensor::abs),
        "Neg" => map(&Tensor::neg),
        "Exp" => map(&Tensor::exp),
        "Log" => map(&Tensor::ln),
        "Sqrt" => map(&Tensor::sqrt),
        "Reciprocal" => map(&Tensor::recip),
        "Sin" => map(&Tensor::sin),
        "Cos" => map(&Tensor::cos),
        "Tanh" => map(&Tensor::tanh),
        "Erf" => map(&Tensor::erf),
        "Floor" => map(&Tensor::floor),
        "Sign" => map(&Tensor::sign),
        "Sigmoid" => map(&Tensor::sigmoid),
        "Relu" => map(&Tensor::relu),
        "LeakyRelu" => map(&|x| x.leaky_relu(alpha(0.01))),
        "Elu" => map(&|x| x.elu(alpha(1.0))),
        "Celu" => map(&|x| Tensor::map([x], |[x]| alpha(1.0) * (x * (1.0 / alpha(1.0))).elu(1.0))),
        "Selu" => map(&|x| {
            let (alpha, gamma) = (alpha(1.673_263_2), number("gamma", 1.050_701));
            Tensor::map([x], |[x]| gamma * x.elu(alpha))
        }),
        "Softplus" => map(&Tensor::softplus),
        "Softsign" => map(&Tensor::softsign),
        "Mish" => map(&Tensor::mish),
        "HardSwish" => map(&Tensor::hardswish),
        "HardSigmoid" => {
            let (alpha, beta) = (alpha(0.2), number("beta", 0.5));
            map(&|x| Tensor::map([x], |[x]| (alpha * x + beta).clamp(0.0, 1.0)))
        }
        "Swish" => map(&|x| Tensor::map([x], |[x]| x.clone() * (alpha(1.0) * x).sigmoid())),
        "ThresholdedRelu" => map(&|x| {
            let above = |x: &Formula| Formula::constant(alpha(1.0)).less(x.clone());
            Tensor::map([x], |[x]| Formula::select(above(&x), x, 0.0.into()))
        }),
        "Gelu" if call.text("approximate", "none") == "tanh" => map(&Tensor::gelu_tanh),
        "Gelu" => map(&Tensor::gelu),
        _ => return None,
    })
}
