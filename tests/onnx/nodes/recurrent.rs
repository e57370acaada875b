//! RNN, GRU and LSTM, one direction.

use super::{Answer, Call, Stop};
use gradus::Tensor;
use gradus::ops::{Cell, RecurrentWeights, Sequence};

pub fn run(call: &Call) -> Option<Answer> {
    Some(match call.node.op.as_str() {
        "RNN" => layer(call, Cell::Tanh, &[0]),
        "GRU" if call.flag("linear_before_reset") => layer(call, Cell::Gru, &[1, 0, 2]),
        "GRU" => layer(call, Cell::GruResetBefore, &[1, 0, 2]),
        "LSTM" => layer(call, Cell::Lstm, &[0, 2, 3, 1]),
        _ => return None,
    })
}

/// `order` says where ONNX has the gates.
fn layer(call: &Call, cell: Cell, order: &[usize]) -> Answer {
    if call.has(7) {
        return Err(Stop::Missing("peepholes"));
    }
    let batch_first = call.flag("layout");
    let swapped = |x: Tensor| if batch_first { x.transpose(0, 1) } else { Ok(x) };
    let x = swapped(call.float(0)?)?;
    let direction = |index: usize| -> Answer<Tensor> { Ok(call.float(index)?.select(0, 0)?) };
    let bias = match call.has(3) {
        true => {
            let both = direction(3)?;
            let half = both.count() / 2;
            Some([both.slice(0, 0, half)?, both.slice(0, half, 2 * half)?])
        }
        false => None,
    };
    let weights = RecurrentWeights { input: direction(1)?, hidden: direction(2)?, bias };
    let states: Vec<Tensor> =
        [5, 6].into_iter().filter(|&i| call.has(i)).map(|i| call.float(i)).collect::<Answer>()?;
    let initial = match states.is_empty() {
        true => None,
        false => {
            let states = states.into_iter().map(swapped).collect::<gradus::Result<Vec<_>>>()?;
            Some(Tensor::concat(&states.iter().collect::<Vec<_>>(), 0)?)
        }
    };
    let sequence = Sequence { initial, lengths: call.optional(4)?, reverse: false };
    let out = x.recurrent(cell, &weights.reordered(order)?, &sequence)?;
    let y = out.y.unsqueeze(1)?;
    let mut outputs = vec![if batch_first { y.permute(&[2, 0, 1, 3])? } else { y }];
    for state in 0..out.state.shape()[0] {
        outputs.push(swapped(out.state.slice(0, state, state + 1)?)?);
    }
    Ok(outputs)
}
