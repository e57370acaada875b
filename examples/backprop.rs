//! Three ways to one derivative: reverse mode, forward mode, and a difference that has to choose its step.

use gradus::autodiff::{hvp, jvp, vjp};
use gradus::op::{counted, footprint};
use gradus::ops::Stream;
use gradus::{Device, Result, Tensor};

/// A small network with the mean square of its output as its loss.
fn loss(weights: &[Tensor], x: &Tensor) -> Result<Tensor> {
    let hidden = x.matmul(&weights[0])?.tanh()?;
    hidden.matmul(&weights[1])?.square()?.mean(&[], false)
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    let random = |stream, shape: [usize; 2]| Tensor::normal(&device, shape, Stream { seed: 1, stream });
    let x = random(0, [32, 8])?;
    let weights = [random(1, [8, 64])?, random(2, [64, 1])?];
    let v = [random(3, [8, 64])?, random(4, [64, 1])?];
    let (at, along): (Vec<&Tensor>, Vec<&Tensor>) = (weights.iter().collect(), v.iter().collect());

    // Reverse mode: one walk back, and the gradient by every weight.
    let (_, gradient) = vjp(|w| loss(w, &x), &at, &Tensor::ones(&device, [])?)?;
    let mut reverse = 0.0;
    for (g, v) in gradient.iter().zip(&v) {
        reverse += g.mul(v)?.sum(&[], false)?.item()?;
    }
    // Forward mode: one walk on, and the derivative in one direction.
    let (_, forward) = jvp(|w| loss(w, &x), &at, &along)?;
    println!("reverse mode  ⟨∇f, v⟩ = {reverse:.6}");
    println!("forward mode  Jv      = {:.6}", forward.item()?);

    // A difference: too large a step is wrong, too small a step is noise.
    for h in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6] {
        let moved = |h: f64| -> Result<f64> {
            let w: Result<Vec<Tensor>> =
                weights.iter().zip(&v).map(|(w, v)| w.add(&v.mul_scalar(h)?)).collect();
            loss(&w?, &x)?.item()
        };
        let quotient = (moved(h)? - moved(-h)?) / (2.0 * h);
        println!("h = {h:.0e}: {quotient:.6}, off by {:.1e}", (quotient - reverse).abs());
    }

    // What it costs: the whole gradient is a small multiple of one value, whatever the number of weights.
    let variables = [weights[0].variable()?, weights[1].variable()?];
    let (value, once) = counted(|| loss(&variables, &x));
    value?.finish()?;
    let ((gradients, bytes), both) = counted(|| footprint(|| loss(&variables, &x)?.backward()));
    println!(
        "{} gradients for {:.2} times the work of a value, holding {bytes} bytes",
        gradients?.len(),
        both as f64 / once as f64
    );

    // And the gradient has a derivative of its own: the Hessian times v.
    let curved = hvp(|w| loss(w, &x), &at, &along)?;
    println!(
        "vᵀHv = {:.4}",
        curved[0].mul(&v[0])?.sum(&[], false)?.item()? + curved[1].mul(&v[1])?.sum(&[], false)?.item()?
    );
    Ok(())
}
