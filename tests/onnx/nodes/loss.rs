//! Losses over classes. ONNX has the classes on the second axis, gradus on the last.

use super::{Answer, Call};
use gradus::Tensor;
use gradus::ops::{ClassLoss, Reduction};

pub fn run(call: &Call) -> Option<Answer> {
    Some(match call.node.op.as_str() {
        "NegativeLogLikelihoodLoss" => nll(call),
        "SoftmaxCrossEntropyLoss" => cross_entropy(call),
        _ => return None,
    })
}

fn options(call: &Call) -> Answer<ClassLoss> {
    Ok(ClassLoss {
        reduction: match call.text("reduction", "mean") {
            "none" => Reduction::None,
            "sum" => Reduction::Sum,
            _ => Reduction::Mean,
        },
        weights: call.optional(2)?,
        ignore_index: call.attribute("ignore_index").map(|_| call.int("ignore_index", 0) as i32),
        ..ClassLoss::default()
    })
}

fn classes_last(x: &Tensor) -> Answer<Tensor> {
    let mut order: Vec<usize> = (0..x.rank()).collect();
    let classes = order.remove(1);
    order.push(classes);
    Ok(x.permute(&order)?)
}

fn nll(call: &Call) -> Answer {
    Ok(vec![classes_last(&call.float(0)?)?.nll_loss(&call.x(1)?, &options(call)?)?])
}

fn cross_entropy(call: &Call) -> Answer {
    let x = call.float(0)?;
    let mut outputs = vec![classes_last(&x)?.cross_entropy_by(&call.x(1)?, &options(call)?)?];
    if call.node.outputs.len() > 1 {
        outputs.push(x.log_softmax(1)?);
    }
    Ok(outputs)
}
