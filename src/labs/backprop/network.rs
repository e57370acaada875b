//! The networks of this chapter as functions of their parameters.

use crate::error::Result;
use crate::labs::host::double;
use crate::labs::lab::Lab;
use crate::tensor::Tensor;

/// Each of the tensors in f64 on the CPU reference.
pub(super) fn doubles(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    tensors.iter().map(double).collect()
}

/// The weights, N(0, 1/fan in), and biases, N(0, 0.01), of layers of these sizes, weight before bias.
pub(super) fn parameters(lab: &Lab, stream: u64, sizes: &[usize]) -> Result<Vec<Tensor>> {
    let mut all = Vec::new();
    for (stream, pair) in (stream..).step_by(2).zip(sizes.windows(2)) {
        let scale = 1.0 / (pair[0] as f64).sqrt();
        all.push(lab.normal(stream, [pair[0], pair[1]])?.mul_scalar(scale)?);
        all.push(lab.normal(stream + 1, [pair[1]])?.mul_scalar(0.1)?);
    }
    Ok(all)
}

/// Standard normal numbers shaped like the parameters, from one stream.
pub(super) fn spread(lab: &Lab, stream: u64, parameters: &[Tensor]) -> Result<Vec<Tensor>> {
    let all = lab.normal(stream, [parameters.iter().map(Tensor::count).sum::<usize>()])?;
    let counts: Vec<usize> = parameters.iter().map(Tensor::count).collect();
    let parts = all.split(&counts, 0)?;
    parts.iter().zip(parameters).map(|(part, p)| part.reshape(p.shape())?.contiguous()).collect()
}

/// A direction for each of the parameters, of length one all together.
pub(super) fn direction(lab: &Lab, stream: u64, parameters: &[Tensor]) -> Result<Vec<Tensor>> {
    let parts = spread(lab, stream, parameters)?;
    let length = inner(&parts, &parts)?.0.sqrt();
    parts.iter().map(|part| part.mul_scalar(1.0 / length)).collect()
}

/// The network: affine layers with tanh between them.
pub(super) fn forward(parameters: &[Tensor], x: &Tensor) -> Result<Tensor> {
    let layers = parameters.len() / 2;
    parameters.chunks(2).enumerate().try_fold(x.clone(), |x, (layer, wb)| {
        let z = x.matmul_bias(&wb[0], &wb[1])?;
        if layer + 1 < layers { z.tanh() } else { Ok(z) }
    })
}

/// The mean square of what the network misses.
pub(super) fn loss(parameters: &[Tensor], x: &Tensor, y: &Tensor) -> Result<Tensor> {
    forward(parameters, x)?.sub(y)?.square()?.mean(&[], false)
}

/// p + h·v, parameter by parameter.
pub(super) fn moved(parameters: &[Tensor], v: &[Tensor], h: f64) -> Result<Vec<Tensor>> {
    parameters.iter().zip(v).map(|(p, v)| p.add(&v.mul_scalar(h)?)).collect()
}

/// ⟨a, b⟩ and Σ|aᵢbᵢ|, in f64 on the host.
pub(super) fn inner(a: &[Tensor], b: &[Tensor]) -> Result<(f64, f64)> {
    let (mut sum, mut size) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        for (a, b) in a.to_f64()?.iter().zip(b.to_f64()?) {
            sum += a * b;
            size += (a * b).abs();
        }
    }
    Ok((sum, size))
}

/// References to all, as the transformations of derivatives take them.
pub(super) fn refs(tensors: &[Tensor]) -> Vec<&Tensor> {
    tensors.iter().collect()
}
