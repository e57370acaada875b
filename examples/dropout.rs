//! Fits a curve with dropout, then asks the network how sure it is: Monte-Carlo dropout inside its data, in the gap
//! between them, and far outside.

use gradus::nn::{Dropout, Linear, Mode, Module, Params, Sequential, mc_dropout};
use gradus::optim::{Adam, Optimizer};
use gradus::{Device, Result, Tensor};

fn main() -> Result<()> {
    let device = Device::auto()?;
    // Two clusters of points on a sine.
    let xs: Vec<f32> = (0..80).map(|i| if i < 40 { -1.0 } else { -0.5 } + i as f32 / 53.0).collect();
    let ys: Vec<f32> = xs.iter().map(|x| (4.0 * x).sin()).collect();
    let column = |values: &[f32]| Tensor::from_slice(&device, values, [values.len(), 1]);
    let (x, y) = (column(&xs)?, column(&ys)?);

    let params = Params::new(&device, 7);
    let model = Sequential::new()
        .add(Linear::new(&params.at("first"), 1, 64)?)
        .add(Tensor::relu)
        .add(Linear::new(&params.at("second"), 64, 64)?)
        .add(Tensor::relu)
        .add(Dropout::new(&params.at("drop"), 0.1)?)
        .add(Linear::new(&params.at("output"), 64, 1)?);
    let mut adam = Adam::new(&params, 5e-3)?;
    for step in 0..=1000 {
        // The step says which masks to draw.
        let loss = model.forward(&x, Mode::Step(step))?.mse_loss(&y)?;
        adam.step(&loss.backward()?)?;
        if step % 250 == 0 {
            println!("step {step:4}: loss {:.4}", loss.item()?);
        }
    }

    let asked = [-0.6f32, 0.0, 0.6, 3.0, 6.0, 12.0];
    let prediction = mc_dropout(&model, &column(&asked)?, 200)?;
    let (mean, variance) = (prediction.mean.to_f64()?, prediction.variance.to_f64()?);
    let plain = model.forward(&column(&asked)?, Mode::Eval)?.to_f64()?;
    for (i, x) in asked.iter().enumerate() {
        println!(
            "x = {x:4}: {:7.3} ± {:.3} over 200 masks, {:7.3} without",
            mean[i],
            variance[i].sqrt(),
            plain[i]
        );
    }
    Ok(())
}
