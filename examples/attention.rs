//! A small GPT on the letters of Shakespeare's plays: learns for a hundred steps, then writes, one character after the
//! other, through its cache of keys and values.

use gradus::data::{Characters, Segments, shakespeare};
use gradus::models::{Gpt, GptOptions, Sampling};
use gradus::nn::{Mode, Params};
use gradus::ops::Stream;
use gradus::optim::{Adam, Optimizer};
use gradus::{Device, Result, Tensor};

const CONTEXT: usize = 48;

fn main() -> Result<()> {
    let device = Device::auto()?;
    let text = shakespeare()?;
    let alphabet = Characters::of(&text);
    let tokens = alphabet.encode(&text)?;
    let segments = Segments::new(&tokens, CONTEXT)?;

    let params = Params::new(&device, 7);
    let gpt = Gpt::new(&params, GptOptions::new(alphabet.len(), CONTEXT, 1, 48, 4))?;
    println!("{} characters, {} parameters, on {device}", alphabet.len(), params.count());
    let mut adam = Adam::new(&params, 4e-3)?;
    for step in 0..=100 {
        let batch = segments.random(16, 7, step);
        let x = Tensor::from_slice(&device, &batch.tokens, batch.shape())?;
        let next = Tensor::from_slice(&device, &batch.next, batch.shape())?;
        let loss = gpt.loss(&x, &next, Mode::Train)?;
        adam.step(&loss.backward()?)?;
        if step % 25 == 0 {
            println!("step {step:3}: {:.3} nats a character", loss.item()?);
        }
    }

    let prompt = "KING ";
    for (name, sampling) in [
        ("the likeliest", Sampling::greedy()),
        ("one of the five likeliest", Sampling::new(Stream::new(7, 0)).top_k(5)),
        ("nucleus 0.9, temperature 0.8", Sampling::new(Stream::new(7, 0)).temperature(0.8).top_p(0.9)),
    ] {
        let drawn: Vec<i32> =
            gpt.generate(&alphabet.encode(prompt)?, sampling)?.take(80).collect::<Result<_>>()?;
        println!("\n{name}: {prompt}{}", alphabet.decode(&drawn)?);
    }
    Ok(())
}
