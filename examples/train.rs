//! Trains a small network on two interleaved spirals, saves it, and reads it back.

use gradus::nn::{Linear, Mode, Module, Params, Sequential};
use gradus::optim::{Adam, Optimizer};
use gradus::{Device, Result, Tensor};

fn model(params: &Params) -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Linear::new(&params.at("hidden1"), 2, 32)?)
        .add(Tensor::tanh)
        .add(Linear::new(&params.at("hidden2"), 32, 32)?)
        .add(Tensor::tanh)
        .add(Linear::new(&params.at("output"), 32, 2)?))
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    let (mut points, mut labels) = (Vec::new(), Vec::new());
    for i in 0..400 {
        let (turn, class) = ((i / 2) as f32 / 200.0, i % 2);
        let angle = 7.0 * turn + class as f32 * std::f32::consts::PI;
        points.extend([turn * angle.cos(), turn * angle.sin()]);
        labels.push(class);
    }
    let x = Tensor::from_slice(&device, &points, [400, 2])?;
    let t = Tensor::from_slice(&device, &labels, [400])?;

    let params = Params::new(&device, 7);
    let network = model(&params)?;
    let mut adam = Adam::new(&params, 1e-2)?;
    for step in 0..=300 {
        let loss = network.forward(&x, Mode::Train)?.cross_entropy(&t)?;
        adam.step(&loss.backward()?)?;
        if step % 100 == 0 {
            println!("step {step:3}: loss {:.4} nats", loss.item()?);
        }
    }

    let path = std::env::temp_dir().join("gradus-spirals.safetensors");
    params.save(&path)?;
    let restored = Params::new(&device, 0);
    let again = model(&restored)?;
    restored.load(&path)?;
    let guess = again.forward(&x, Mode::Eval)?.argmax(1)?.to_vec::<i32>()?;
    let right = guess.iter().zip(&labels).filter(|(g, l)| g == l).count();
    println!("{right} of 400 points right, read back from {}", path.display());
    Ok(())
}
