//! The models: what their parameters are called, that they see no future, and that generation through a cache or a
//! state is the full pass.

mod common;

use gradus::models::{
    Forecaster, ForecasterOptions, Gpt, GptOptions, Reader, RecurrentKind, RecurrentLanguageModel,
    RecurrentModelOptions, Sampling, windows,
};
use gradus::nn::{Gru, Lstm, Mode, Params, RecurrentInit, RecurrentOptions};
use gradus::ops::Stream;
use gradus::optim::{Adam, Optimizer};
use gradus::{Device, Result, Tensor};

const VOCABULARY: usize = 11;
const CONTEXT: usize = 12;

fn gpt(params: &Params) -> Gpt {
    Gpt::new(params, GptOptions::new(VOCABULARY, CONTEXT, 2, 16, 4)).unwrap()
}

fn recurrent(params: &Params, kind: RecurrentKind) -> RecurrentLanguageModel {
    let options = RecurrentModelOptions { layers: 2, ..RecurrentModelOptions::new(VOCABULARY, kind, 8, 16) };
    RecurrentLanguageModel::new(params, options).unwrap()
}

fn named(params: &Params) -> Vec<String> {
    params.trainable().iter().map(|p| p.path().to_owned()).collect()
}

/// Larger numbers than models start with, so that logits differ and a wrong position shows.
fn stirred(params: &Params) {
    for (n, p) in params.trainable().iter().enumerate() {
        let noise = Tensor::normal(&Device::cpu(), p.shape(), Stream::new(9, n as u64)).unwrap();
        let noise = noise.to_dtype(params.dtype()).unwrap().to_device(params.device()).unwrap();
        p.set(&p.get().detach().add(&noise.mul_scalar(0.3).unwrap()).unwrap()).unwrap();
    }
}

/// Every kind of parameters that the tests run with.
fn everywhere() -> [Params; 3] {
    [Params::new_f64(4), Params::new(&Device::cpu(), 4), Params::new(&common::gpu(), 4)]
}

fn row(params: &Params, tokens: &[i32]) -> Tensor {
    Tensor::from_slice(params.device(), tokens, [1, tokens.len()]).unwrap()
}

/// The logits of the last position of a pass over all tokens.
fn last(logits: &Tensor) -> Vec<f64> {
    let time = logits.shape()[1];
    logits.detach().slice(1, time - 1, time).unwrap().to_f64().unwrap()
}

#[test]
fn parameters_are_called_as_documented() {
    let params = Params::new(&Device::cpu(), 0);
    gpt(&params.at("gpt"));
    let layer = |n: usize| {
        [
            "self_attn.in_proj_weight",
            "self_attn.in_proj_bias",
            "self_attn.out_proj.weight",
            "self_attn.out_proj.bias",
            "linear1.weight",
            "linear1.bias",
            "linear2.weight",
            "linear2.bias",
            "norm1.weight",
            "norm1.bias",
            "norm2.weight",
            "norm2.bias",
        ]
        .map(|name| format!("gpt.layers.{n}.{name}"))
    };
    let mut expected = vec!["gpt.tokens.weight".to_owned(), "gpt.positions.weight".into()];
    expected.extend(layer(0));
    expected.extend(layer(1));
    expected.extend(["gpt.norm.weight", "gpt.norm.bias", "gpt.head.weight"].map(String::from));
    let (mut found, mut wanted) = (named(&params), expected);
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    assert_eq!(*params.get("gpt.positions.weight").unwrap().shape(), [CONTEXT, 16]);
    assert_eq!(*params.get("gpt.head.weight").unwrap().shape(), [VOCABULARY, 16]);

    let params = Params::new(&Device::cpu(), 0);
    let options = RecurrentModelOptions::new(VOCABULARY, RecurrentKind::Lstm, 8, 16);
    RecurrentLanguageModel::new(&params, options).unwrap();
    let of_layer = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"];
    let expected = |kind: &str, first: &[&str]| {
        let of_layer = of_layer.iter().map(|name| format!("{kind}.{name}"));
        let first = first.iter().map(|name| (*name).to_owned());
        first.chain(of_layer).chain(["head.weight".into(), "head.bias".into()]).collect::<Vec<_>>()
    };
    assert_eq!(named(&params), expected("lstm", &["tokens.weight"]));
    let params = Params::new(&Device::cpu(), 0);
    Forecaster::new(&params, ForecasterOptions::new(RecurrentKind::Gru, 4)).unwrap();
    assert_eq!(named(&params), expected("gru", &[]));
}

#[test]
fn a_gpt_sees_no_future() {
    for params in everywhere() {
        let gpt = gpt(&params);
        stirred(&params);
        let [a, b] = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 9, 8, 7]]
            .map(|tokens| gpt.forward(&row(&params, &tokens), Mode::Eval).unwrap().to_f64().unwrap());
        assert_eq!(a[..3 * VOCABULARY], b[..3 * VOCABULARY]);
        assert!(a[3 * VOCABULARY..].iter().zip(&b[3 * VOCABULARY..]).any(|(a, b)| (a - b).abs() > 0.1));
    }
}

/// What is drawn behind a prompt if every token is drawn from a pass over all that came before.
fn uncached(
    logits: impl Fn(&[i32]) -> Result<Tensor>,
    prompt: &[i32],
    count: usize,
    sampling: Sampling,
) -> Vec<i32> {
    let mut text = prompt.to_vec();
    for _ in 0..count {
        let next = sampling.choose(&last(&logits(&text).unwrap()), text.len() as u64).unwrap();
        text.push(next as i32);
    }
    text.split_off(prompt.len())
}

/// Greedy, hot, and restricted in each way.
fn samplings() -> [Sampling; 4] {
    let sampling = Sampling::new(Stream::new(6, 2));
    [Sampling::greedy(), sampling.temperature(1.5), sampling.top_k(3), sampling.top_p(0.6)]
}

#[test]
fn a_gpt_generates_through_its_cache_what_full_passes_give() {
    for params in everywhere() {
        let gpt = gpt(&params);
        stirred(&params);
        let mut texts = Vec::new();
        for sampling in samplings() {
            let drawn: Result<Vec<i32>> = gpt.generate(&[3, 1, 4], sampling).unwrap().take(9).collect();
            let full = |text: &[i32]| gpt.forward(&row(&params, text), Mode::Eval);
            texts.push(drawn.unwrap());
            assert_eq!(texts[texts.len() - 1], uncached(full, &[3, 1, 4], 9, sampling), "{sampling:?}");
        }
        assert_ne!(texts[0], texts[1], "chance makes a difference");
    }
}

#[test]
fn behind_its_context_a_gpt_goes_on_from_the_later_half() {
    for params in everywhere() {
        let gpt = gpt(&params);
        stirred(&params);
        let mut reader = gpt.reader();
        let tokens: Vec<i32> = (0..40).map(|n| n * 7 % VOCABULARY as i32).collect();
        let mut lengths = Vec::new();
        for (n, token) in tokens.iter().enumerate() {
            let logits = reader.read(&[*token]).unwrap();
            let seen = reader.seen().to_vec();
            assert_eq!(seen, tokens[n + 1 - seen.len()..=n]);
            let full = last(&gpt.forward(&row(&params, &seen), Mode::Eval).unwrap());
            assert!(logits.iter().zip(&full).all(|(a, b)| (a - b).abs() < 1e-4), "{logits:?} and {full:?}");
            lengths.push(seen.len());
        }
        assert_eq!(lengths[..14], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 6, 7]);
        assert!(gpt.reader().read(&tokens).is_ok(), "a prompt longer than the context");
        assert!(gpt.forward(&row(&params, &tokens), Mode::Eval).is_err());
    }
}

#[test]
fn a_recurrent_model_generates_through_its_state_what_full_passes_give() {
    for kind in [RecurrentKind::Lstm, RecurrentKind::Gru] {
        for params in everywhere() {
            let model = recurrent(&params, kind);
            stirred(&params);
            for sampling in samplings() {
                let drawn: Result<Vec<i32>> =
                    model.generate(&[3, 1, 4], sampling).unwrap().take(20).collect();
                let full = |text: &[i32]| model.forward(&row(&params, text), Mode::Eval);
                assert_eq!(drawn.unwrap(), uncached(full, &[3, 1, 4], 20, sampling), "{kind:?} {sampling:?}");
            }
            let tokens = [1, 2, 3, 4, 5, 6, 7];
            let whole = model.forward(&row(&params, &tokens), Mode::Eval).unwrap().to_f64().unwrap();
            let (_, state) = model.forward_from(&row(&params, &tokens[..3]), &[], Mode::Eval).unwrap();
            let rest = model.forward_from(&row(&params, &tokens[3..]), &state, Mode::Eval).unwrap().0;
            for (a, b) in whole[3 * VOCABULARY..].iter().zip(&rest.to_f64().unwrap()) {
                assert!((a - b).abs() < 1e-4, "{a} and {b}");
            }
        }
    }
}

#[test]
fn drawn_tokens_are_among_the_likeliest() {
    let params = Params::new(&Device::cpu(), 4);
    let gpt = gpt(&params);
    stirred(&params);
    let mut text = vec![5];
    let sampling = Sampling::new(Stream::new(1, 0)).top_k(2).temperature(5.0);
    for token in gpt.generate(&text.clone(), sampling).unwrap().take(11) {
        let logits = last(&gpt.forward(&row(&params, &text), Mode::Eval).unwrap());
        let token = token.unwrap();
        let better = logits.iter().filter(|z| **z > logits[token as usize]).count();
        assert!(better < 2, "{token} has {better} likelier ones");
        text.push(token);
    }
}

#[test]
fn dropout_needs_the_step_and_repeats_with_it() {
    let params = Params::new(&Device::cpu(), 4);
    let gpt = Gpt::new(&params, GptOptions::new(VOCABULARY, CONTEXT, 1, 16, 4).dropout(0.5)).unwrap();
    stirred(&params);
    let x = row(&params, &[1, 2, 3]);
    let at = |mode| gpt.forward(&x, mode).unwrap().to_f64().unwrap();
    assert!(gpt.forward(&x, Mode::Train).is_err());
    assert_eq!(at(Mode::Step(1)), at(Mode::Step(1)));
    assert_ne!(at(Mode::Step(1)), at(Mode::Step(2)));
    assert_ne!(at(Mode::Step(1)), at(Mode::Eval));
}

#[test]
fn a_forecaster_learns_a_wave_and_goes_on_with_it() {
    let wave = |t: usize| (0.4 * t as f32).sin();
    let series: Vec<f32> = (0..120).map(wave).collect();
    let (read, follow) = windows(&series, 16);
    let count = follow.len();
    for device in [Device::cpu(), common::gpu()] {
        for kind in [RecurrentKind::Lstm, RecurrentKind::Gru] {
            let params = Params::new(&device, 3);
            let model = Forecaster::new(&params, ForecasterOptions::new(kind, 12)).unwrap();
            let x = Tensor::from_slice(&device, &read, [count, 16, 1]).unwrap();
            let y = Tensor::from_slice(&device, &follow, [count, 1]).unwrap();
            let mut adam = Adam::new(&params, 0.02).unwrap();
            for _ in 0..150 {
                let loss = model.forward(&x, Mode::Train).unwrap().mse_loss(&y).unwrap();
                adam.step(&loss.backward().unwrap()).unwrap();
            }
            let window = x.slice(0, count - 1, count).unwrap();
            let next = model.continued(&window, 6).unwrap().to_f64().unwrap();
            println!("{device}, {kind:?}: {next:?}");
            // The last window ends one value before the series does.
            for (n, value) in next.iter().enumerate() {
                let truth = f64::from(wave(119 + n));
                assert!((value - truth).abs() < 0.2, "{value} for {truth}, {n} steps on");
            }
            let once = model.forward(&window, Mode::Eval).unwrap().item().unwrap();
            assert!((once - next[0]).abs() < 1e-5);
        }
    }
}

#[test]
fn wrong_calls_are_typed_errors() {
    let params = Params::new(&Device::cpu(), 4);
    let gpt = gpt(&params.at("gpt"));
    assert!(gpt.forward(&row(&params, &[VOCABULARY as i32]), Mode::Eval).is_err());
    assert!(gpt.forward(&Tensor::from_slice(params.device(), &[1, 2], [2]).unwrap(), Mode::Eval).is_err());
    assert!(gpt.decode(&row(&params, &[1]), &mut []).is_err());
    assert!(gpt.generate(&[], Sampling::greedy()).is_err());
    let mut lost = gpt.generate(&[99], Sampling::greedy()).unwrap();
    assert!(lost.next().unwrap().is_err() && lost.next().is_none());
    let at = |n: usize| params.at(format!("wrong{n}"));
    assert!(Gpt::new(&at(0), GptOptions::new(0, 4, 1, 8, 2)).is_err());
    assert!(Gpt::new(&at(1), GptOptions::new(4, 4, 1, 8, 3)).is_err());
    let forecaster = Forecaster::new(&at(2), ForecasterOptions::new(RecurrentKind::Gru, 4)).unwrap();
    assert!(forecaster.forward(&Tensor::zeros(params.device(), [2, 5, 2]).unwrap(), Mode::Eval).is_err());
    assert!(forecaster.forward(&Tensor::zeros(params.device(), [2, 0, 1]).unwrap(), Mode::Eval).is_err());
    assert!(forecaster.continued(&Tensor::zeros(params.device(), [2, 5, 1]).unwrap(), 0).is_err());
}

#[test]
fn a_recurrent_layer_starts_as_it_is_told() {
    let hidden = 6;
    for params in everywhere() {
        let options =
            RecurrentOptions { init: Some(RecurrentInit::default()), ..RecurrentOptions::default() };
        Lstm::with(&params.at("lstm"), 3, hidden, options).unwrap();
        Gru::with(&params.at("gru"), 3, hidden, options).unwrap();
        let read = |name: &str| params.get(name).unwrap().get().to_f64().unwrap();
        let forget: Vec<f64> = (0..4 * hidden).map(|i| f64::from(u8::from(i / hidden == 1))).collect();
        assert_eq!(read("lstm.bias_ih_l0"), forget);
        assert!(read("lstm.bias_hh_l0").iter().chain(&read("gru.bias_ih_l0")).all(|b| *b == 0.0));
        for (name, gates) in [("lstm.weight_hh_l0", 4), ("gru.weight_hh_l0", 3)] {
            let u = read(name);
            assert_eq!(u.len(), gates * hidden * hidden);
            for gate in u.chunks(hidden * hidden) {
                for i in 0..hidden {
                    for j in 0..hidden {
                        let dot: f64 = (0..hidden).map(|k| gate[i * hidden + k] * gate[j * hidden + k]).sum();
                        assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-5, "{name}: {dot}");
                    }
                }
            }
        }
        let u = read("lstm.weight_hh_l0");
        assert_ne!(u[..hidden * hidden], u[hidden * hidden..2 * hidden * hidden], "gates differ");
    }
}
