//! A GRU foretells carbon dioxide: learns from monthly means above Mauna Loa, then goes on for two years without
//! seeing any more, beside the forecast that everything stays as it was.

use gradus::data::co2;
use gradus::models::{Forecaster, ForecasterOptions, RecurrentKind, windows};
use gradus::nn::{Mode, Params};
use gradus::optim::{Adam, Optimizer};
use gradus::{Device, Result, Tensor};

const WINDOW: usize = 24;
const AHEAD: usize = 24;

fn main() -> Result<()> {
    let device = Device::auto()?;
    // Weekly values, some weeks missing: the mean of each month.
    let weekly = co2()?;
    let mut months: Vec<(i32, Vec<f64>)> = Vec::new();
    for (time, value) in weekly.times.iter().zip(&weekly.values).filter(|(_, v)| v.is_finite()) {
        let month = (time * 12.0).floor() as i32;
        match months.last_mut() {
            Some((last, values)) if *last == month => values.push(*value),
            _ => months.push((month, vec![*value])),
        }
    }
    let ppm: Vec<f64> = months.iter().map(|(_, v)| v.iter().sum::<f64>() / v.len() as f64).collect();
    let scaled: Vec<f32> = ppm.iter().map(|v| ((v - 340.0) / 10.0) as f32).collect();
    let learned = scaled.len() - AHEAD;

    let (read, follow) = windows(&scaled[..learned], WINDOW);
    let x = Tensor::from_slice(&device, &read, [follow.len(), WINDOW, 1])?;
    let y = Tensor::from_slice(&device, &follow, [follow.len(), 1])?;
    let params = Params::new(&device, 7);
    let model = Forecaster::new(&params, ForecasterOptions::new(RecurrentKind::Gru, 16))?;
    let mut adam = Adam::new(&params, 1e-2)?;
    for step in 0..=400 {
        let loss = model.forward(&x, Mode::Train)?.mse_loss(&y)?;
        adam.step(&loss.backward()?)?;
        if step % 100 == 0 {
            println!("step {step:3}: one month ahead within {:.3} ppm", 10.0 * loss.item()?.sqrt());
        }
    }

    let window = Tensor::from_slice(&device, &scaled[learned - WINDOW..learned], [1, WINDOW, 1])?;
    let foretold = model.continued(&window, AHEAD)?.to_f64()?;
    let error = |forecast: &dyn Fn(usize) -> f64| {
        let squares: f64 = (0..AHEAD).map(|t| (forecast(t) - ppm[learned + t]).powi(2)).sum();
        (squares / AHEAD as f64).sqrt()
    };
    println!("two years unseen: the GRU errs by {:.2} ppm,", error(&|t| 340.0 + 10.0 * foretold[t]));
    println!("                  'as the last month' by {:.2}", error(&|_| ppm[learned - 1]));
    println!("                  'as a year before' by {:.2}", error(&|t| ppm[learned - 12 + t % 12]));
    Ok(())
}
