//! A language model that learns a text by heart: characters through an LSTM, on the adapter and on the CPU, and
//! the gradients of both.

mod common;

use gradus::nn::{Init, Linear, Lstm, Mode, Params};
use gradus::ops::{Cell, RecurrentWeights, Sequence};
use gradus::optim::{Adam, Optimizer};
use gradus::real::Bounded;
use gradus::verify::compare;
use gradus::{DType, Device, Result, Tensor};

/// Dickens, A Tale of Two Cities, 1859.
const TEXT: &str = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age \
of foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was \
the season of Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we \
had nothing before us.";
const SEQUENCES: usize = 6;
const FEATURES: usize = 12;
const HIDDEN: usize = 64;

/// The characters `[T, B]` of a batch and those that follow them, and how many different ones there are.
fn batch(device: &Device, steps: usize) -> (Tensor, Tensor, usize) {
    let mut alphabet: Vec<char> = TEXT.chars().collect();
    alphabet.sort_unstable();
    alphabet.dedup();
    let text: Vec<i32> =
        TEXT.chars().map(|c| alphabet.iter().position(|a| *a == c).unwrap() as i32).collect();
    let span = (text.len() - 1) / SEQUENCES;
    let read = |offset: usize| {
        let all: Vec<i32> =
            (0..steps * SEQUENCES).map(|i| text[i % SEQUENCES * span + i / SEQUENCES + offset]).collect();
        Tensor::from_slice(device, &all, [steps, SEQUENCES]).unwrap()
    };
    (read(0), read(1), alphabet.len())
}

fn steps() -> usize {
    (TEXT.chars().count() - 1) / SEQUENCES
}

/// The loss in nats a character, from the parameters in the order in which [`Model::new`] defines them.
fn loss(p: &[Tensor], device: &Device, steps: usize) -> Result<Tensor> {
    let (read, follow, _) = batch(device, steps);
    let bias = Some([p[3].clone(), p[4].clone()]);
    let weights = RecurrentWeights { input: p[1].clone(), hidden: p[2].clone(), bias };
    let y = p[0].embedding(&read)?.recurrent(Cell::Lstm, &weights, &Sequence::default())?.y;
    y.flatten(0)?
        .reshape([steps * SEQUENCES, HIDDEN])?
        .matmul_bias(&p[5].t()?, &p[6])?
        .cross_entropy(&follow.flatten(0)?)
}

struct Model {
    params: Params,
    embedding: gradus::nn::Parameter,
    lstm: Lstm,
    output: Linear,
}

impl Model {
    fn new(device: &Device) -> Result<Self> {
        let (params, characters) = (Params::new(device, 3), batch(device, 1).2);
        Ok(Model {
            embedding: params.parameter(
                "embedding",
                [characters, FEATURES],
                Init::Normal { mean: 0.0, std: 1.0 },
            )?,
            lstm: Lstm::new(&params.at("lstm"), FEATURES, HIDDEN)?,
            output: Linear::new(&params.at("output"), HIDDEN, characters)?,
            params,
        })
    }

    fn loss(&self) -> Result<Tensor> {
        let (read, follow, _) = batch(self.params.device(), steps());
        let y = self.lstm.forward(&self.embedding.get().embedding(&read)?, None, None, Mode::Train)?.y;
        let logits = self.output.forward(&y.reshape([steps() * SEQUENCES, HIDDEN])?)?;
        logits.cross_entropy(&follow.flatten(0)?)
    }
}

fn learns_by_heart(device: &Device) {
    let model = Model::new(device).unwrap();
    let mut adam = Adam::new(&model.params, 0.01).unwrap();
    let (mut last, mut taken) = (f64::INFINITY, 0);
    while last >= 0.05 && taken < 600 {
        let loss = model.loss().unwrap();
        adam.step(&loss.backward().unwrap()).unwrap();
        taken += 1;
        if taken % 20 == 0 {
            last = loss.item().unwrap();
        }
    }
    println!("{device}: {last:.4} nats a character after {taken} steps");
    assert!(last < 0.05, "{last} nats after {taken} steps");
}

#[test]
fn an_lstm_learns_a_text_by_heart_on_the_adapter() {
    learns_by_heart(&common::gpu());
}

#[test]
fn an_lstm_learns_a_text_by_heart_on_the_cpu() {
    learns_by_heart(&Device::cpu());
}

/// The gradients of all parameters as they start, over some steps.
fn gradients(device: &Device, dtype: DType, steps: usize) -> Vec<Tensor> {
    let model = Model::new(&Device::cpu()).unwrap();
    let parameters: Vec<Tensor> = model
        .params
        .trainable()
        .iter()
        .map(|p| {
            let data = p.get().to_vec::<f32>().unwrap();
            let value = match dtype {
                DType::F32 => Tensor::from_slice(device, &data, p.shape()),
                DType::F64 => Tensor::from_slice(
                    device,
                    &data.iter().map(|&v| v.into()).collect::<Vec<f64>>(),
                    p.shape(),
                ),
                _ => {
                    let exact: Vec<Bounded> = data.iter().map(|&v| Bounded::exact(v.into())).collect();
                    Tensor::from_slice(device, &exact, p.shape())
                }
            };
            value.unwrap().variable().unwrap()
        })
        .collect();
    loss(&parameters, device, steps).unwrap().grad(&parameters.iter().collect::<Vec<_>>()).unwrap()
}

/// Five steps are few enough for a bound that says something.
#[test]
fn gradients_of_adapter_and_cpu_are_within_their_bounds() {
    let bounds = gradients(&Device::cpu(), DType::Bounded, 5);
    for device in [common::gpu(), Device::cpu()] {
        let found = gradients(&device, DType::F32, 5);
        assert_eq!((found.len(), bounds.len()), (7, 7));
        let mut share = 0.0f64;
        for (found, bound) in found.iter().zip(&bounds) {
            let expected = bound.to_vec::<Bounded>().unwrap();
            let verdict = compare(found.shape(), &found.to_f64().unwrap(), bound.shape(), &expected, false);
            assert!(verdict.rejected.is_none(), "{device}: {:?}", verdict.rejected);
            share = share.max(verdict.worst_share);
        }
        println!("{device}: {share:.4} of the bound at most");
    }
}

/// Over the whole text the error is observed, relative to the largest entry of each gradient.
#[test]
fn gradients_over_the_whole_text_stay_near_the_truth() {
    let truth = gradients(&Device::cpu(), DType::F64, steps());
    for device in [common::gpu(), Device::cpu()] {
        let mut worst = 0.0f64;
        for (found, truth) in gradients(&device, DType::F32, steps()).iter().zip(&truth) {
            let (found, truth) = (found.to_f64().unwrap(), truth.to_f64().unwrap());
            let scale = truth.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            assert!(found.len() == truth.len() && scale > 0.0);
            worst = found.iter().zip(&truth).fold(worst, |m, (f, t)| m.max((f - t).abs() / scale));
        }
        println!("{device}: {worst:.1e} off at most over {} steps", steps());
        assert!(worst < 1e-4);
    }
}
