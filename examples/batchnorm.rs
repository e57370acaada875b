//! Three facts about batch normalisation, measured: the weights' length does not matter, their gradient is
//! orthogonal to them, and under weight decay they turn at a rate of their own.

use gradus::nn::{Init, Params};
use gradus::ops::Stream;
use gradus::optim::{Optimizer, Sgd};
use gradus::{Device, Result, Tensor};

const BATCH: usize = 64;
const INPUTS: usize = 32;

/// A batch norm without scale and shift, on the outputs of one unit; ε is too small to matter.
fn unit(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let (one, zero) = (Tensor::ones(x.device(), [1])?, Tensor::zeros(x.device(), [1])?);
    Ok(x.matmul(w)?.batch_norm(&one, &zero, 1e-30)?.y)
}

fn dot(a: &Tensor, b: &Tensor) -> Result<f64> {
    a.mul(b)?.sum(&[], false)?.item()
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    let draw =
        |columns: usize, stream: u64| Tensor::normal(&device, [BATCH, columns], Stream::new(7, stream));
    let params = Params::new(&device, 7);
    let w = params.parameter("w", [INPUTS, 1], Init::Normal { mean: 0.0, std: 0.5 })?;

    let (x, target) = (draw(INPUTS, 0)?, draw(1, 1)?);
    let loss = |w: &Tensor| unit(&x, w)?.sub(&target)?.square()?.mean(&[], false);
    println!(
        "loss {:.6}, with ten times the weights {:.6}",
        loss(&w.get())?.item()?,
        loss(&w.get().mul_scalar(10.0)?)?.item()?
    );
    let gradient = loss(&w.get())?.backward()?.get(&w.get())?.clone();
    let lengths = (dot(&w.get(), &w.get())? * dot(&gradient, &gradient)?).sqrt();
    println!("cosine of weights and gradient {:.1e}", dot(&w.get(), &gradient)? / lengths);

    let (rate, decay) = (0.5, 0.01);
    let mut sgd = Sgd::new(&params, rate)?.weight_decay(decay)?;
    for step in 1..=600 {
        // Fresh inputs and a random loss: nothing is learned, the weights only turn.
        let before = w.get().detach();
        let loss =
            unit(&draw(INPUTS, 2 * step)?, &w.get())?.mul(&draw(1, 2 * step + 1)?)?.mean(&[], false)?;
        sgd.step(&loss.backward()?)?;
        if step % 100 == 0 {
            let (a, b) = (before, w.get());
            let cosine = dot(&a, &b)? / (dot(&a, &a)? * dot(&b, &b)?).sqrt();
            println!(
                "step {step}: length {:.3}, turned by {:.3} (√(2ηλ) = {:.3})",
                dot(&b, &b)?.sqrt(),
                cosine.min(1.0).acos(),
                (2.0 * rate * decay).sqrt()
            );
        }
    }
    Ok(())
}
