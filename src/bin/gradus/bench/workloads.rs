//! What is timed. Names are addresses: operation/shape.

use gradus::models::{ResNet, ResNetOptions};
use gradus::nn::{
    BatchNorm, Conv2d, Gru, Init, LayerNorm, Linear, Lstm, Mode, Module, Params, RecurrentOptions,
    Sequential, TransformerEncoderLayer, TransformerOptions,
};
use gradus::ops::random::Stream;
use gradus::ops::{Attention, Conv2dOptions, Pool2d};
use gradus::optim::{AdamW, Optimizer, Sgd};
use gradus::{Capture, DType, Device, Result, Tensor};

/// One call of a workload: everything it computes that somebody would want.
pub type Run = Box<dyn FnMut() -> Result<Vec<Tensor>>>;

/// Makes the tensors of a workload on a device, in f32 or f64, and the call.
pub type Make = Box<dyn Fn(&Device, DType) -> Result<Run>>;

/// Something to time.
pub struct Workload {
    /// operation/shape.
    pub name: String,
    /// The fewest bytes it must read and write, in f32.
    pub bytes: f64,
    pub make: Make,
}

fn workload(
    name: impl Into<String>,
    elements: usize,
    make: impl Fn(&Device, DType) -> Result<Run> + 'static,
) -> Workload {
    Workload { name: name.into(), bytes: 4.0 * elements as f64, make: Box::new(make) }
}

/// A call that gives one tensor.
fn one(mut run: impl FnMut() -> Result<Tensor> + 'static) -> Result<Run> {
    Ok(Box::new(move || Ok(vec![run()?])))
}

fn normal(device: &Device, dtype: DType, stream: u64, shape: impl AsRef<[usize]>) -> Result<Tensor> {
    Tensor::normal_in(device, dtype, shape, Stream { seed: 0, stream })
}

fn params(device: &Device, dtype: DType) -> Params {
    if dtype == DType::F64 { Params::new_f64(7) } else { Params::new(device, 7) }
}

/// The labels 0, 1, … 9, 0, 1, …
fn labels(device: &Device, count: usize) -> Result<Tensor> {
    let values: Vec<i32> = (0..count as i32).map(|i| i % 10).collect();
    Tensor::from_slice(device, &values, [count])
}

/// The gradient of Σ y·dy with respect to `to`, y first.
fn with_gradient(y: Tensor, dy: &Tensor, to: &[&Tensor]) -> Result<Vec<Tensor>> {
    let mut all = y.pull_back(dy, to)?;
    all.insert(0, y.detach());
    Ok(all)
}

/// Loss and gradients of a classifier, the peers' training step without its update.
fn training(model: Sequential, params: Params, x: Tensor) -> Result<Run> {
    let labels = labels(x.device(), x.shape()[0])?;
    Ok(Box::new(move || {
        let gradients = model.forward(&x, Mode::Train)?.cross_entropy(&labels)?.backward()?;
        params.trainable().iter().map(|p| gradients.get(&p.get()).cloned()).collect()
    }))
}

/// All of them, the peers' first and under the peers' names.
pub fn all() -> Vec<Workload> {
    let mut all = products();
    all.extend(convolutions());
    all.extend(rows());
    all.extend(attention());
    all.extend(recurrent());
    all.extend(training_steps());
    all
}

fn products() -> Vec<Workload> {
    let square = [256, 512, 1024].map(|n| (format!("matmul/{n}"), [n, n, n]));
    let other = [("matmul/64x784x256", [64, 784, 256]), ("matmul/gemv2048", [1, 2048, 2048])];
    let all = square.into_iter().chain(other.map(|(name, shape)| (name.to_owned(), shape)));
    all.map(|(name, shape)| product(name, shape)).collect()
}

/// m × k times k × n.
pub fn product(name: String, [m, k, n]: [usize; 3]) -> Workload {
    workload(name, m * k + k * n + m * n, move |device, dtype| {
        let (a, b) = (normal(device, dtype, 1, [m, k])?, normal(device, dtype, 2, [k, n])?);
        one(move || a.matmul(&b))
    })
}

fn convolutions() -> Vec<Workload> {
    let shapes =
        [[1, 64, 56, 64, 3, 1], [32, 16, 28, 32, 3, 1], [8, 3, 64, 32, 3, 2], [1, 256, 14, 256, 1, 1]];
    // Planes that no four of positions fill.
    let shapes = shapes.into_iter().chain([[32, 64, 7, 64, 3, 1]]);
    (0..3).flat_map(|way| shapes.clone().map(move |shape| convolution(way, shape))).collect()
}

/// Of `n` square images with `c` channels and side `h`, to `o` channels, with square kernels of side `k`, `s` apart:
/// way 0, or its gradient with respect to images, way 1, or kernels, way 2.
pub fn convolution(way: usize, [n, c, h, o, k, s]: [usize; 6]) -> Workload {
    let side = (h + 2 * (k / 2) - k) / s + 1;
    let elements = n * c * h * h + o * c * k * k + n * o * side * side;
    let name = format!("{}/n{n}c{c}h{h}o{o}k{k}s{s}", ["conv2d", "conv2d_dx", "conv2d_dw"][way]);
    workload(name, elements, move |device, dtype| {
        let options = Conv2dOptions::default().stride([s, s]).padding([k / 2, k / 2]);
        let (x, w) = (normal(device, dtype, 1, [n, c, h, h])?, normal(device, dtype, 2, [o, c, k, k])?);
        if way == 0 {
            return one(move || x.conv2d(&w, None, options));
        }
        // A gradient alone: the forward pass is recorded once.
        let (x, w) = (x.variable()?, w.variable()?);
        let y = x.conv2d(&w, None, options)?;
        let dy = normal(device, dtype, 3, *y.shape())?;
        one(move || Ok(y.pull_back(&dy, &[if way == 1 { &x } else { &w }])?.swap_remove(0)))
    })
}

/// What reads and writes each element a few times at most.
fn rows() -> Vec<Workload> {
    let matrix = 4096 * 512;
    let on_matrix = |name: &str, elements: usize, f: fn(&Tensor) -> Result<Tensor>| {
        workload(name, elements, move |device, dtype| {
            let x = normal(device, dtype, 1, [4096, 512])?;
            one(move || f(&x))
        })
    };
    let norm = |name: &str, elements: usize, gradient: bool| {
        workload(name, elements, move |device, dtype| {
            let x = normal(device, dtype, 1, [4096, 512])?.variable()?;
            let dy = normal(device, dtype, 2, [4096, 512])?;
            let layer = LayerNorm::new(&params(device, dtype), [512])?;
            Ok(Box::new(move || match gradient {
                false => Ok(vec![layer.forward(&x.detach())?]),
                true => with_gradient(layer.forward(&x)?, &dy, &[&x]),
            }))
        })
    };
    let images = 32 * 64 * 28 * 28;
    let batch_norm = |name: &str, elements: usize, gradient: bool| {
        workload(name, elements, move |device, dtype| {
            let x = normal(device, dtype, 1, [32, 64, 28, 28])?.variable()?;
            let dy = normal(device, dtype, 2, [32, 64, 28, 28])?;
            let layer = BatchNorm::new(&params(device, dtype), 64)?;
            Ok(Box::new(move || match gradient {
                false => Ok(vec![layer.forward(&x, Mode::Train)?.detach()]),
                true => with_gradient(layer.forward(&x, Mode::Train)?, &dy, &[&x]),
            }))
        })
    };
    vec![
        on_matrix("softmax/4096x512", 2 * matrix, |x| x.softmax(1)),
        on_matrix("reduce_sum/4096x512", matrix + 4096, |x| x.sum(&[1], true)),
        on_matrix("pointwise/chain5", 2 * matrix, |x| {
            x.mul_scalar(2.0)?.add_scalar(1.0)?.tanh()?.mul(x)?.relu()?.add_scalar(-1.0)
        }),
        norm("layer_norm/4096x512", 2 * matrix, false),
        norm("layer_norm_backward/4096x512", 5 * matrix, true),
        batch_norm("batch_norm_train/32x64x28x28", 2 * images, false),
        batch_norm("batch_norm_train_backward/32x64x28x28", 5 * images, true),
    ]
}

fn attention() -> Vec<Workload> {
    [false, true].map(|gradient| attention_of([1, 8, 512, 64], gradient)).into()
}

/// Batch, heads, positions, features.
pub fn attention_of(shape: [usize; 4], gradient: bool) -> Workload {
    let [b, h, t, d] = shape;
    let (way, times) = if gradient { ("_backward", 8) } else { ("", 4) };
    workload(format!("attention{way}/{b}x{h}x{t}x{d}"), times * b * h * t * d, move |device, dtype| {
        let input = |stream| normal(device, dtype, stream, shape)?.variable();
        let (q, k, v, dy) = (input(1)?, input(2)?, input(3)?, normal(device, dtype, 4, shape)?);
        Ok(Box::new(move || {
            let y = q.attention(&k, &v, &Attention::default())?;
            if gradient { with_gradient(y, &dy, &[&q, &k, &v]) } else { Ok(vec![y.detach()]) }
        }))
    })
}

fn recurrent() -> Vec<Workload> {
    [(true, false), (false, false), (true, true), (false, true)]
        .map(|(lstm, gradient)| recurrent_of(lstm, [32, 16, 64, 128], gradient))
        .into()
}

/// An LSTM or a GRU: steps, batch, inputs, hidden units.
pub fn recurrent_of(lstm: bool, [t, b, i, h]: [usize; 4], gradient: bool) -> Workload {
    let (name, gates) = if lstm { ("lstm", 4) } else { ("gru", 3) };
    let name = format!("{name}{}/t{t}b{b}i{i}h{h}", if gradient { "_backward" } else { "" });
    let elements = t * b * (i + h) + gates * h * (i + h);
    workload(name, if gradient { 3 * elements } else { elements }, move |device, dtype| {
        let x = normal(device, dtype, 1, [b, t, i])?.variable()?;
        let dy = normal(device, dtype, 2, [b, t, h])?;
        let options = RecurrentOptions { batch_first: true, ..RecurrentOptions::default() };
        let all = params(device, dtype);
        let layer: Box<dyn Module> = match lstm {
            true => Box::new(Lstm::with(&all, i, h, options)?),
            false => Box::new(Gru::with(&all, i, h, options)?),
        };
        Ok(Box::new(move || match gradient {
            false => Ok(vec![layer.forward(&x.detach(), Mode::Eval)?.detach()]),
            true => with_gradient(layer.forward(&x, Mode::Eval)?, &dy, &[&x]),
        }))
    })
}

fn training_steps() -> Vec<Workload> {
    let mlp = workload("train/mlp_b64", 3 * (784 * 256 + 2560) + 64 * 784, |device, dtype| {
        let params = params(device, dtype);
        let model = Sequential::new()
            .add(Linear::new(&params.at("hidden"), 784, 256)?)
            .add(Tensor::relu)
            .add(Linear::new(&params.at("output"), 256, 10)?);
        training(model, params, normal(device, dtype, 1, [64, 784])?)
    });
    let cnn = workload("train/cnn_b64", 10 * 64 * 784 * 16, |device, dtype| {
        let params = params(device, dtype);
        let same = Conv2dOptions::default().padding([1, 1]);
        let pool = |x: &Tensor| x.max_pool2d(Pool2d::new([2, 2]));
        let model = Sequential::new()
            .add(Conv2d::new(&params.at("conv1"), 1, 16, [3, 3], same)?)
            .add(BatchNorm::new(&params.at("norm1"), 16)?)
            .add(Tensor::relu)
            .then(pool)
            .add(Conv2d::new(&params.at("conv2"), 16, 32, [3, 3], same)?)
            .add(BatchNorm::new(&params.at("norm2"), 32)?)
            .add(Tensor::relu)
            .then(pool)
            .then(|x| x.flatten(1))
            .add(Linear::new(&params.at("output"), 32 * 49, 10)?);
        training(model, params, normal(device, dtype, 1, [64, 1, 28, 28])?)
    });
    // A whole step of small launches, recorded each time and replayed: what the host saves.
    let step = |name: &str, captured: bool| {
        workload(name, 3 * (784 * 256 + 2560) + 64 * 784, move |device, dtype| {
            let params = params(device, dtype);
            let model = Sequential::new()
                .add(Linear::new(&params.at("hidden"), 784, 256)?)
                .add(Tensor::relu)
                .add(Linear::new(&params.at("output"), 256, 10)?);
            let mut optimizer = AdamW::new(&params, 1e-4)?;
            let (x, labels) = (normal(device, dtype, 1, [64, 784])?, labels(device, 64)?);
            let mut capture = Capture::new(device);
            Ok(Box::new(move || {
                let mut step = |inputs: &[Tensor]| {
                    let loss = model.forward(&inputs[0], Mode::Train)?.cross_entropy(&inputs[1])?;
                    optimizer.step(&loss.backward()?)?;
                    Ok(vec![loss])
                };
                if captured { capture.run(&[&x, &labels], step) } else { step(&[x.clone(), labels.clone()]) }
            }))
        })
    };
    let steps = [step("capture/mlp_b64_adamw_anew", false), step("capture/mlp_b64_adamw_replayed", true)];
    let resnet = workload("train/resnet20_b32", 10 * 32 * 19 * 16 * 32 * 32, |device, dtype| {
        let params = params(device, dtype);
        let model = ResNet::new(&params, 20, ResNetOptions::default())?;
        let mut optimizer = Sgd::new(&params, 0.1)?.momentum(0.9)?;
        let (x, labels) = (normal(device, dtype, 1, [32, 3, 32, 32])?, labels(device, 32)?);
        Ok(Box::new(move || {
            let loss = model.forward(&x, Mode::Train)?.cross_entropy(&labels)?;
            optimizer.step(&loss.backward()?)?;
            Ok(vec![loss.detach()])
        }))
    });
    // Four heads, 256 features, 1024 between: forward, backward and the update.
    let transformer = workload("train/transformer_t256d256", 20 * 256 * 256, |device, dtype| {
        let params = params(device, dtype);
        let options = TransformerOptions { norm_first: true, ..TransformerOptions::new(4, 1024) };
        let layer = TransformerEncoderLayer::new(&params, 256, options)?;
        let mut optimizer = AdamW::new(&params, 1e-4)?;
        let x = normal(device, dtype, 1, [1, 256, 256])?;
        Ok(Box::new(move || {
            let y = layer.forward(&x, &Attention::default(), Mode::Eval)?;
            optimizer.step(&y.square()?.mean(&[], false)?.backward()?)?;
            Ok(vec![y.detach()])
        }))
    });
    // A million parameters in sixty tensors, whose gradients are given numbers.
    let update = workload("optimizer/adamw_1m_60", 7 * 60 * 129 * 129, |device, dtype| {
        let params = params(device, dtype);
        for k in 0..60 {
            params.parameter(&format!("w{k}"), [129, 129], Init::Normal { mean: 0.0, std: 1.0 })?;
        }
        let all = params.trainable();
        let mut optimizer = AdamW::new(&params, 1e-4)?;
        let given = normal(device, dtype, 1, [129, 129])?;
        Ok(Box::new(move || {
            let sums: Result<Vec<Tensor>> =
                all.iter().map(|p| p.get().mul(&given)?.sum(&[], true)?.reshape([1])).collect();
            let loss = Tensor::concat(&sums?.iter().collect::<Vec<_>>(), 0)?.sum(&[], false)?;
            optimizer.step(&loss.backward()?)?;
            Ok(all.iter().map(|p| p.get()).collect())
        }))
    });
    // Four megabytes there and back.
    let transfer = workload("transfer/4mib", 2 * (1 << 20), |device, dtype| {
        let data: Vec<f32> = (0..1 << 20).map(|i| i as f32).collect();
        let device = device.clone();
        one(move || {
            let back: Vec<f32> = Tensor::from_slice(&device, &data, [1 << 20])?.to_vec()?;
            Tensor::from_slice(&device, &back[..1], [1])?.to_dtype(dtype)
        })
    });
    [mlp, cnn].into_iter().chain(steps).chain([resnet, transformer, update, transfer]).collect()
}
