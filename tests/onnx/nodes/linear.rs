//! Products of matrices.

use super::{Answer, Call};
use gradus::Tensor;

pub fn run(call: &Call) -> Option<Answer> {
    Some(match call.node.op.as_str() {
        "MatMul" => matmul(call),
        "Gemm" => gemm(call),
        "Einsum" => einsum(call),
        _ => return None,
    })
}

/// Vectors are a row on the left and a column on the right, and lose that axis again.
fn matmul(call: &Call) -> Answer {
    let (a, b) = (call.float(0)?, call.float(1)?);
    let row = if a.rank() == 1 { a.unsqueeze(0)? } else { a.clone() };
    let column = if b.rank() == 1 { b.unsqueeze(1)? } else { b.clone() };
    let mut y = row.matmul(&column)?;
    if b.rank() == 1 {
        y = y.squeeze(-1)?;
    }
    if a.rank() == 1 {
        y = y.squeeze(if b.rank() == 1 { -1 } else { -2 })?;
    }
    Ok(vec![y])
}

fn gemm(call: &Call) -> Answer {
    let side = |index, name| -> Answer<Tensor> {
        let x = call.float(index)?;
        Ok(if call.flag(name) { x.t()? } else { x })
    };
    let (a, b) = (side(0, "transA")?, side(1, "transB")?);
    let y = a.matmul(&b)?.mul_scalar(call.number("alpha", 1.0))?;
    Ok(vec![match call.optional(2)? {
        Some(c) => y.add(&c.mul_scalar(call.number("beta", 1.0))?)?,
        None => y,
    }])
}

fn einsum(call: &Call) -> Answer {
    let operands = (0..call.node.inputs.len()).map(|index| call.float(index)).collect::<Answer>()?;
    Ok(vec![Tensor::einsum(call.text("equation", ""), &operands.iter().collect::<Vec<_>>())?])
}
