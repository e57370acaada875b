//! A transformer that learns a text by heart, on the adapter and on the CPU; and decodes it step by step.

mod common;

use gradus::nn::{
    Embedding, KvCache, LayerNorm, Linear, Mode, Params, TransformerEncoderLayer, TransformerOptions,
};
use gradus::ops::Attention;
use gradus::optim::{Adam, Optimizer};
use gradus::real::Bounded;
use gradus::{Device, Result, Tensor};

/// Abraham Lincoln, Gettysburg, 19 November 1863.
const TEXT: &str = "Four score and seven years ago our fathers brought forth on this continent, a new nation, \
conceived in Liberty, and dedicated to the proposition that all men are created equal. Now we are engaged in a \
great civil war, testing whether that nation, or any nation so conceived and so dedicated, can long endure.";

/// How large a model is, and how much it reads at once.
#[derive(Clone, Copy)]
struct Sizes {
    layers: usize,
    features: usize,
    batch: usize,
    time: usize,
}

/// Learns the text by heart.
const LARGE: Sizes = Sizes { layers: 2, features: 32, batch: 8, time: 32 };
/// So shallow and narrow that bounds for the worst of all roundings say something: they compound from layer to layer.
const SMALL: Sizes = Sizes { layers: 1, features: 8, batch: 2, time: 16 };

/// The characters of the text as numbers, and how many different ones there are.
fn numbers() -> (Vec<i32>, usize) {
    let mut alphabet: Vec<char> = TEXT.chars().collect();
    alphabet.sort_unstable();
    alphabet.dedup();
    let number = |c: char| alphabet.iter().position(|&a| a == c).unwrap() as i32;
    (TEXT.chars().map(number).collect(), alphabet.len())
}

/// Characters, and the character behind each.
fn batch(device: &Device, Sizes { batch, time, .. }: Sizes) -> Result<[Tensor; 2]> {
    let (text, _) = numbers();
    assert!(text.len() > batch * time);
    let make = |from: usize| Tensor::from_slice(device, &text[from..from + batch * time], [batch, time]);
    Ok([make(0)?, make(1)?])
}

/// Layers of self-attention to what came before.
struct Model {
    characters: Embedding,
    positions: Embedding,
    layers: Vec<TransformerEncoderLayer>,
    norm: LayerNorm,
    output: Linear,
}

impl Model {
    fn new(params: &Params, Sizes { layers, features, time, .. }: Sizes) -> Result<Self> {
        let options = TransformerOptions { norm_first: true, ..TransformerOptions::new(4, 2 * features) };
        let layer = |i| TransformerEncoderLayer::new(&params.at(format!("layer{i}")), features, options);
        Ok(Model {
            characters: Embedding::new(&params.at("characters"), numbers().1, features)?,
            positions: Embedding::new(&params.at("positions"), time, features)?,
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            norm: LayerNorm::new(&params.at("norm"), [features])?,
            output: Linear::new(&params.at("output"), features, numbers().1)?,
        })
    }

    fn embed(&self, x: &Tensor, first: usize) -> Result<Tensor> {
        let end = first + x.shape()[1];
        let positions = Tensor::arange(x.device(), first as i32, end as i32)?;
        self.characters.forward(x)?.add(&self.positions.forward(&positions)?)
    }

    /// The logits of the next character, `[B, T, characters]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let causal = Attention { causal: true, ..Attention::default() };
        let through = |x: Tensor, layer: &TransformerEncoderLayer| layer.forward(&x, &causal, Mode::Train);
        let x = self.layers.iter().try_fold(self.embed(x, 0)?, through)?;
        self.output.forward(&self.norm.forward(&x)?)
    }

    /// The same for new characters only, going on where the caches end.
    fn decode(&self, x: &Tensor, caches: &mut [KvCache]) -> Result<Tensor> {
        let mut x = self.embed(x, caches[0].len())?;
        for (layer, cache) in self.layers.iter().zip(caches) {
            x = layer.decode(&x, cache)?;
        }
        self.output.forward(&self.norm.forward(&x)?)
    }

    fn loss(&self, [x, next]: &[Tensor; 2]) -> Result<Tensor> {
        let logits = self.forward(x)?;
        logits.reshape([x.count(), numbers().1])?.cross_entropy(&next.reshape([x.count()])?)
    }
}

/// The loss and the text that the model writes behind its own first characters, after learning.
fn learned(device: &Device) -> Result<(f64, String)> {
    let params = Params::new(device, 5);
    let model = Model::new(&params, LARGE)?;
    let mut adam = Adam::new(&params, 4e-3)?;
    let data = batch(device, LARGE)?;
    for _ in 0..200 {
        adam.step(&model.loss(&data)?.backward()?)?;
    }
    let mut caches = vec![KvCache::new(); model.layers.len()];
    let (text, _) = numbers();
    let mut written = text[..4].to_vec();
    let mut next = Tensor::from_slice(device, &written, [1, 4])?;
    while written.len() < LARGE.time {
        let logits = model.decode(&next, &mut caches)?;
        let last = logits.slice(1, next.shape()[1] - 1, next.shape()[1])?.argmax(2)?;
        written.push(last.to_vec::<i32>()?[0]);
        next = last;
    }
    let character = |&n: &i32| TEXT.chars().zip(&text).find(|(_, m)| **m == n).map(|(c, _)| c);
    Ok((model.loss(&data)?.item()?, written.iter().filter_map(character).collect()))
}

fn learns(device: &Device) {
    let (loss, written) = learned(device).unwrap();
    println!("{device}: {loss:.4} nats, “{written}”");
    assert!(loss < 0.05, "{loss} nats");
    assert_eq!(written, TEXT[..LARGE.time]);
}

#[test]
fn a_transformer_learns_a_text_on_the_adapter() {
    learns(&common::gpu());
}

#[test]
fn a_transformer_learns_a_text_on_the_cpu() {
    learns(&Device::cpu());
}

/// Every gradient of the loss, in the order of the parameters.
fn gradients(params: &Params, sizes: Sizes) -> Result<Vec<Tensor>> {
    let model = Model::new(params, sizes)?;
    let gradients = model.loss(&batch(params.device(), sizes)?)?.backward()?;
    params.trainable().iter().map(|p| Ok(gradients.get(&p.get())?.clone())).collect()
}

/// Whether each number lies within its bound, and the largest share of one.
fn within(found: &[Tensor], bounds: &[Tensor]) -> f64 {
    let (mut worst, mut count) = (0.0f64, 0);
    assert_eq!(found.len(), bounds.len());
    for (found, bound) in found.iter().zip(bounds) {
        assert_eq!(found.shape(), bound.shape());
        for (value, bound) in found.to_f64().unwrap().iter().zip(&bound.to_vec::<Bounded>().unwrap()) {
            assert!(!bound.is_vacuous() && bound.contains(*value), "{value} for {bound:?}");
            worst = worst.max(bound.share(*value));
            count += 1;
        }
    }
    assert!(count > 400, "{count} numbers");
    worst
}

#[test]
fn the_gradients_of_adapter_and_cpu_are_within_their_bounds() {
    let bounds = gradients(&Params::new_bounded(5), SMALL).unwrap();
    for device in [common::gpu(), Device::cpu()] {
        let share = within(&gradients(&Params::new(&device, 5), SMALL).unwrap(), &bounds);
        println!("{device}: at most {share:.1e} of the bound");
    }
}

/// Of the large model the worst case says nothing, so its gradients are held to the truth as they are: a mistake
/// would show, rounding does not.
#[test]
fn the_gradients_of_adapter_and_cpu_are_near_the_truth() {
    let truth = gradients(&Params::new_f64(5), LARGE).unwrap();
    for device in [common::gpu(), Device::cpu()] {
        let mut worst = 0.0f64;
        for (found, truth) in gradients(&Params::new(&device, 5), LARGE).unwrap().iter().zip(&truth) {
            let (found, truth) = (found.to_f64().unwrap(), truth.to_f64().unwrap());
            let size = truth.iter().fold(0.0f64, |m, x| m.max(x.abs())).max(1e-3);
            for (a, b) in found.iter().zip(&truth) {
                assert!((a - b).abs() <= 1e-4 * size, "{a} for {b} on {device}");
                worst = worst.max((a - b).abs() / size);
            }
        }
        println!("{device}: {worst:.1e} off, relative to the largest of each parameter");
    }
}

#[test]
fn decoding_step_by_step_is_one_pass() {
    let whole =
        |params: &Params, sizes| Model::new(params, sizes)?.forward(&batch(params.device(), sizes)?[0]);
    let stepwise = |params: &Params, sizes: Sizes| -> Result<Tensor> {
        let (model, [x, _]) = (Model::new(params, sizes)?, batch(params.device(), sizes)?);
        let mut caches = vec![KvCache::new(); model.layers.len()];
        // One at a time, several at a time, and whatever is left.
        let cuts = [0, 1, 2, 3, 7, 8, sizes.time];
        let parts: Result<Vec<Tensor>> =
            cuts.windows(2).map(|c| model.decode(&x.slice(1, c[0], c[1])?, &mut caches)).collect();
        Tensor::concat(&parts?.iter().collect::<Vec<_>>(), 1)
    };
    let exact = || Params::new_f64(5);
    let [one, other] = [whole(&exact(), LARGE).unwrap(), stepwise(&exact(), LARGE).unwrap()];
    for (a, b) in one.to_f64().unwrap().iter().zip(&other.to_f64().unwrap()) {
        assert!((a - b).abs() < 1e-12, "{a} and {b}");
    }
    let bounds = whole(&Params::new_bounded(5), SMALL).unwrap();
    for device in [common::gpu(), Device::cpu()] {
        let found = stepwise(&Params::new(&device, 5), SMALL).unwrap();
        let share = within(&[found], std::slice::from_ref(&bounds));
        println!("{device}: at most {share:.1e} of the bound");
    }
}
