//! Wrong calls, each of which must give a typed error whose text names the operation, what was given and the
//! remedy. Nothing may panic.

mod common;

use gradus::autodiff::At;
use gradus::data::{Batches, FashionMnist, ImageSet, idx};
use gradus::gpu::Gpu;
use gradus::io::Checkpoint;
use gradus::nn::{
    BatchNorm, Conv2d, Dropout, GroupNorm, Gru, Init, KvCache, LayerNorm, Linear, Lstm, LstmCell, Mode,
    MultiHeadAttention, Nonlinearity, Params, RecurrentOptions, Rnn,
};
use gradus::op::{self, Data, GpuView, Inputs, Meta, Op};
use gradus::ops::random::Stream;
use gradus::ops::{
    Attention, ClassLoss, Conv2dOptions, ConvOptions, CtcLoss, Pool, Pool2d, Reduction, Resize, Rotary, Scan,
    Scatter, lanczos,
};
use gradus::optim::{Adam, Ema, Group, Lamb, Lion, LossScaler, Optimizer, Plateau, RmsProp, Sgd};
use gradus::real::Real;
use gradus::{Array, DType, Device, Error, Result, Tensor, autodiff};
use std::path::{Path, PathBuf};

/// The kind of error expected, as the variant's name.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::Shape { .. } => "Shape",
        Error::DType { .. } => "DType",
        Error::Device { .. } => "Device",
        Error::Axis { .. } => "Axis",
        Error::Argument { .. } => "Argument",
        Error::Index { .. } => "Index",
        Error::NoGradient { .. } => "NoGradient",
        Error::Backward { .. } => "Backward",
        Error::NoAdapter { .. } => "NoAdapter",
        Error::OutOfMemory { .. } => "OutOfMemory",
        Error::Validation { .. } => "Validation",
        Error::DeviceLost { .. } => "DeviceLost",
        Error::Io { .. } => "Io",
        Error::Format { .. } => "Format",
        _ => "other",
    }
}

type Call<'a> = (&'a str, &'a str, Box<dyn Fn() -> Result<()> + 'a>);

/// Shorthand for a call whose value does not matter.
fn call<'a, T>(expected: &'a str, given: &'a str, f: impl Fn() -> Result<T> + 'a) -> Call<'a> {
    (expected, given, Box::new(move || f().map(|_| ())))
}

fn check(table: Vec<Call>) -> usize {
    let count = table.len();
    let mut wrong = Vec::new();
    for (row, (expected, given, f)) in table.into_iter().enumerate() {
        match f() {
            Ok(()) => wrong.push(format!("row {row} ({expected}, {given}): no error")),
            Err(error) => {
                let text = error.to_string();
                // Operation, problem, remedy: three parts, each with something in it.
                let parts = text.split([':', '.']).filter(|s| s.trim().len() > 3).count();
                if kind(&error) != expected || !text.contains(given) || parts < 3 {
                    wrong.push(format!("row {row} ({expected}, {given}): {}: {text}", kind(&error)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    count
}

fn tensor(device: &Device, shape: &[usize]) -> Tensor {
    Tensor::zeros(device, shape).unwrap()
}

fn labels(device: &Device, values: &[i32]) -> Tensor {
    Tensor::from_slice(device, values, [values.len()]).unwrap()
}

fn tensors(d: &Device) -> usize {
    let t = |shape: &[usize]| tensor(d, shape);
    let plain = Conv2dOptions::default();
    let stream = Stream { seed: 0, stream: 0 };
    let double = |shape: &[usize]| Tensor::full(&Device::cpu(), DType::F64, shape, 0.0).unwrap();
    check(vec![
        call("Shape", "5 elements", || Tensor::from_slice(d, &[0.0f32; 5], [2, 3])),
        call("Shape", "rank 9", || Tensor::zeros(d, [1; 9])),
        call("Shape", "2^31", || Tensor::zeros(d, [1 << 20, 1 << 20])),
        call("Shape", "[2, 3] and [2, 4]", || t(&[2, 3]).add(&t(&[2, 4]))),
        call("Shape", "[3] and [4]", || t(&[3]).maximum(&t(&[4]))),
        call("Shape", "inner dimensions differ", || t(&[64, 128]).matmul(&t(&[96, 32]))),
        call("Shape", "at least two axes", || t(&[3]).matmul(&t(&[3, 4]))),
        call("Shape", "bias", || t(&[2, 3]).matmul_bias(&t(&[3, 4]), &t(&[3]))),
        call("Shape", "do not broadcast", || t(&[2, 3, 4]).matmul(&t(&[3, 4, 5]))),
        call("Shape", "6 elements", || t(&[2, 3]).reshape([4])),
        call("Axis", "[0, 0]", || t(&[2, 3]).permute(&[0, 0])),
        call("Axis", "axis 2", || t(&[2, 3]).transpose(0, 2)),
        call("Axis", "axis -3", || t(&[2, 3]).sum(&[-3], false)),
        call("Axis", "twice", || t(&[2, 3]).sum(&[0, -2], false)),
        call("Axis", "axis 5", || t(&[2, 3]).softmax(5)),
        call("Axis", "axis 1", || t(&[3]).argmax(1)),
        call("Axis", "axis 4", || t(&[2, 3]).unsqueeze(4)),
        call("Shape", "is not one", || t(&[2, 3]).squeeze(0)),
        call("Shape", "[2, 3] and [3, 3]", || t(&[2, 3]).broadcast_to([3, 3])),
        call("Argument", "1..9", || t(&[2, 3]).slice(1, 1, 9)),
        call("Argument", "by 0", || t(&[2, 3]).slice_step(1, 0, 3, 0)),
        call("Argument", "no tensors", || Tensor::concat(&[], 0)),
        call("Shape", "along axis 0", || Tensor::concat(&[&t(&[2, 3]), &t(&[2, 4])], 0)),
        call("Argument", "1 amounts", || t(&[2, 3]).pad(&[(1, 1)], 0.0)),
        call("Argument", "Pad by less", || t(&[2, 3]).pad(&[(usize::MAX, 1), (0, 0)], 0.0)),
        call("Shape", "of [2, 3]", || t(&[2, 3]).slice_assign(&[1, 1], &t(&[2, 2]))),
        call("Shape", "has 6 elements", || t(&[2, 3]).item()),
        call("Shape", "no elements", || t(&[0, 3]).max(&[0], false)),
        call("Shape", "no elements", || t(&[0, 3]).mean(&[], false)),
        call("DType", "i32", || labels(d, &[1, 2]).exp()),
        call("DType", "i32", || labels(d, &[1, 2]).variable()),
        call("DType", "read as i32", || t(&[2]).to_vec::<i32>()),
        call("DType", "f16", || t(&[2]).add(&t(&[2]).to_dtype(DType::F16)?)),
        call("Shape", "derivative of [1, 1, 1]", || {
            autodiff::jacobian(|x| x.square()?.reshape([1; 3]), &t(&[1; 6]))
        }),
        call("Shape", "has 2 elements", || autodiff::hessian(|x| x.square(), &t(&[2]))),
        call("NoGradient", "not among its inputs", || {
            let x = t(&[2]).variable()?;
            autodiff::checkpoint(move |v| v[0].mul(&x), &[&t(&[2])])
        }),
        call("Argument", "no examples", || {
            autodiff::per_example_grad(|p, _| p[0].sum(&[], false), &[&t(&[2])], &[])
        }),
        call("DType", "i32", || Tensor::concat(&[&t(&[2]), &labels(d, &[1, 2])], 0)),
        call("Shape", "[O, C/groups, kh, kw]", || t(&[1, 2, 5]).conv2d(&t(&[3, 2, 3, 3]), None, plain)),
        call("Shape", "groups", || t(&[1, 4, 5, 5]).conv2d(&t(&[3, 2, 3, 3]), None, plain)),
        call("Shape", "larger than the padded image", || {
            t(&[1, 2, 2, 2]).conv2d(&t(&[3, 2, 3, 3]), None, plain)
        }),
        call("Argument", "at least one", || {
            t(&[1, 2, 5, 5]).conv2d(&t(&[3, 2, 3, 3]), None, plain.stride([0, 1]))
        }),
        call("Shape", "bias", || t(&[1, 2, 5, 5]).conv2d(&t(&[3, 2, 3, 3]), Some(&t(&[2])), plain)),
        call("DType", "bias", || {
            t(&[1, 2, 5, 5]).conv2d(&t(&[3, 2, 3, 3]), Some(&labels(d, &[1, 2, 3])), plain)
        }),
        call("DType", "i32", || t(&[2, 3]).matmul_bias(&t(&[3, 2]), &labels(d, &[1, 2]))),
        call("Argument", "max_pool2d", || t(&[1, 2, 5, 5]).max_pool2d(Pool2d::new([2, 2]).padding([2, 2]))),
        call("Argument", "avg_pool2d", || {
            t(&[1, 2, 5, 5]).avg_pool2d(Pool2d::new([2, 2]).stride([0, 1]), true)
        }),
        call("Shape", "max_pool2d", || t(&[1, 2, 5]).max_pool2d(Pool2d::new([2, 2]))),
        call("Axis", "3 axes", || t(&[2, 3]).layer_norm(3, None, None, 1e-5)),
        call("Shape", "gamma [2]", || t(&[2, 3]).layer_norm(1, Some(&t(&[2])), None, 1e-5)),
        call("Argument", "eps = 0", || t(&[2, 3]).rms_norm(1, None, 0.0)),
        call("Shape", "2 groups for 3 channels", || t(&[2, 3, 4]).group_norm(2, None, None, 1e-5)),
        call("DType", "i32", || labels(d, &[1, 2]).dropout(0.5, stream)),
        call("Argument", "1.5", || t(&[2, 3]).dropout(1.5, stream)),
        call("Argument", "probability 1", || t(&[2, 3]).alpha_dropout(1.0, stream)),
        call("Shape", "k [1, 1, 2, 4]", || {
            t(&[1, 1, 2, 3]).attention(&t(&[1, 1, 2, 4]), &t(&[1, 1, 2, 3]), &Attention::default())
        }),
        call("Shape", "q [1, 3, 2, 2]", || {
            t(&[1, 3, 2, 2]).attention(&t(&[1, 2, 2, 2]), &t(&[1, 2, 2, 2]), &Attention::default())
        }),
        call("Argument", "a window of no keys", || {
            let x = t(&[1, 1, 2, 2]);
            x.attention(&x, &x, &Attention { window: Some(0), ..Attention::default() })
        }),
        call("Shape", "mask [3] i32", || {
            let x = t(&[1, 1, 2, 2]);
            x.attention(&x, &x, &Attention { mask: Some(labels(d, &[0, 1, 1])), ..Attention::default() })
        }),
        call("DType", "mask [2] f32", || {
            let x = t(&[1, 1, 2, 2]);
            x.attention(&x, &x, &Attention { mask: Some(t(&[2])), ..Attention::default() })
        }),
        call("DType", "bias [2] i32", || {
            let x = t(&[1, 1, 2, 2]);
            x.attention(&x, &x, &Attention { bias: Some(labels(d, &[0, 1])), ..Attention::default() })
        }),
        call("Argument", "3 of 3 features", || t(&[2, 3]).rotary(&Rotary::default(), 0)),
        call("Argument", "5 features", || Tensor::sinusoidal(d, DType::F32, 0, 2, 5)),
        call("Argument", "4 heads", || MultiHeadAttention::new(&Params::new(d, 0), 6, 4)),
        call("Shape", "for 6 features", || {
            MultiHeadAttention::new(&Params::new(d, 0), 6, 2)?.decode(&t(&[1, 2, 4]), &mut KvCache::new())
        }),
        call("Argument", "label smoothing 2", || {
            let options = ClassLoss { label_smoothing: 2.0, ..ClassLoss::default() };
            t(&[2, 3]).cross_entropy_by(&labels(d, &[0, 1]), &options)
        }),
        call("Shape", "weights [2]", || {
            let options = ClassLoss { weights: Some(t(&[2])), ..ClassLoss::default() };
            t(&[2, 3]).nll_loss(&labels(d, &[0, 1]), &options)
        }),
        call("Argument", "delta 0", || t(&[3]).huber_loss(&t(&[3]), 0.0, Reduction::Mean)),
        call("Shape", "[3] f32 with target [3, 1]", || t(&[3]).kl_div(&t(&[3, 1]), Reduction::Sum)),
        call("Argument", "need 3 times", || {
            let targets = labels(d, &[1, 1]).reshape([1, 2])?;
            t(&[2, 1, 3]).ctc_loss(&targets, &[2], &[2], CtcLoss::default())
        }),
        call("Argument", "blank 0 among", || {
            let targets = labels(d, &[1, 0]).reshape([1, 2])?;
            t(&[4, 1, 3]).ctc_loss(&targets, &[4], &[2], CtcLoss::default())
        }),
        call("Index", "target 3", || {
            let targets = labels(d, &[1, 3]).reshape([1, 2])?;
            t(&[4, 1, 3]).ctc_loss(&targets, &[4], &[2], CtcLoss::default())
        }),
        call("Index", "10", || t(&[2, 10]).cross_entropy(&labels(d, &[3, 10]))),
        call("Index", "-1", || t(&[2, 10]).cross_entropy(&labels(d, &[-1, 0]))),
        call("Shape", "cross_entropy", || t(&[2, 10]).cross_entropy(&labels(d, &[1, 2, 3]))),
        call("DType", "f32", || t(&[2, 10]).cross_entropy(&t(&[2]))),
        call("Index", "5", || t(&[5, 2]).embedding(&labels(d, &[0, 5]))),
        call("Index", "7", || t(&[5, 2]).index_select(1, &labels(d, &[7]))),
        call("Axis", "axis 2", || t(&[5, 2]).index_select(2, &labels(d, &[0]))),
        call("Shape", "[O, C/groups, k]", || {
            t(&[1, 2, 5, 5]).conv1d(&t(&[3, 2, 3]), None, ConvOptions::default())
        }),
        call("Shape", "larger than the padded image", || {
            t(&[1, 2, 2, 5, 5]).conv3d(&t(&[3, 2, 3, 3, 3]), None, ConvOptions::default())
        }),
        call("Argument", "output padding", || {
            t(&[1, 2, 5, 5]).conv_transpose2d(&t(&[2, 3, 3, 3]), None, plain, [1, 0])
        }),
        call("Shape", "Nothing is left", || {
            t(&[1, 2, 2, 2]).conv_transpose2d(&t(&[2, 3, 1, 1]), None, plain.padding([1, 1]), [0, 0])
        }),
        call("Shape", "unfold", || t(&[2, 5, 5]).unfold([2, 2], plain)),
        call("Shape", "of [3, 3] patches", || t(&[1, 4, 8]).fold([4, 4], [2, 2], plain)),
        call("Argument", "max_pool1d", || t(&[1, 2, 5]).max_pool1d(Pool::new([2]).dilation([0]))),
        call("Shape", "no cell", || {
            t(&[1, 2, 1]).max_pool1d(Pool::new([2]).stride([1]).dilation([2]).padding([1]))
        }),
        call("Argument", "lp_pool2d", || t(&[1, 2, 5, 5]).lp_pool2d(0.0, Pool2d::new([2, 2]))),
        call("Index", "max_unpool2d", || {
            t(&[1, 1, 1, 2]).max_unpool2d(&labels(d, &[0, 4]).reshape([1, 1, 1, 2])?, [2, 2])
        }),
        call("Argument", "adaptive_avg_pool", || t(&[1, 2, 5, 5]).adaptive_avg_pool(&[0, 2])),
        call("Shape", "adaptive_max_pool", || t(&[1, 2, 5, 5]).adaptive_max_pool(&[2])),
        call("Argument", "resize", || t(&[1, 2, 5, 5]).resize(&[0, 2], Resize::LINEAR)),
        call("Shape", "resize", || t(&[5]).resize(&[2, 2], Resize::NEAREST)),
        call("Index", "4, number 1", || t(&[2, 3]).gather(1, &labels(d, &[0, 4]).reshape([2, 1])?)),
        call("Shape", "gather", || t(&[2, 3]).gather(1, &labels(d, &[0, 1]))),
        call("Shape", "scatter", || {
            t(&[2, 3]).scatter(1, &labels(d, &[0, 1]).reshape([2, 1])?, &t(&[2, 2]), Scatter::Add)
        }),
        call("DType", "scatter", || {
            let places = labels(d, &[0, 1]);
            labels(d, &[5, 6]).scatter(0, &places, &labels(d, &[1, 2]), Scatter::Max)
        }),
        call("Index", "outside 0..3", || t(&[2, 3]).gather_nd(&labels(d, &[1, 3]).reshape([1, 2])?, 0)),
        call("Shape", "scatter_nd", || {
            t(&[2, 3]).scatter_nd(&labels(d, &[1]).reshape([1, 1])?, &t(&[1, 2]), Scatter::Replace)
        }),
        call("Shape", "cholesky", || t(&[2, 3]).cholesky()),
        call("Argument", "pivot 1 is not positive", || t(&[2, 2]).cholesky()),
        call("DType", "cholesky", || labels(d, &[1]).reshape([1, 1])?.cholesky()),
        call("Shape", "triangular_solve", || t(&[3, 3]).triangular_solve(&t(&[2, 1]), false)),
        call("Shape", "unsqueeze", || t(&[3, 3]).cholesky_solve(&t(&[3]))),
        call("Argument", "0 steps", || lanczos(|v| Ok(v.clone()), &t(&[3]), 0)),
        call("Shape", "use flatten", || lanczos(|v| Ok(v.clone()), &t(&[3, 1]), 2)),
        call("Axis", "argsort", || t(&[3]).argsort(1, false)),
        call("Argument", "topk", || t(&[3]).topk(4, 0, true)),
        call("DType", "cumsum", || labels(d, &[1, 2]).cumsum(0, Scan::default())),
        call("Shape", "linear_scan", || t(&[3]).linear_scan(&t(&[2]), 0, false)),
        call("Shape", "tril", || t(&[3]).tril(0)),
        call("Index", "outside 0..3", || labels(d, &[3]).one_hot(3, DType::F32)),
        call("Argument", "tile", || t(&[3]).tile(&[2, 2])),
        call("Argument", "split", || t(&[3]).split(&[1, 1], 0)),
        call("Argument", "chunk", || t(&[3]).chunk(0, 0)),
        call("Argument", "'ij,jk'", || Tensor::einsum("ij,jk", &[&t(&[2, 3])])),
        call("Shape", "einsum", || Tensor::einsum("ij,jk->ik", &[&t(&[2, 3]), &t(&[2, 3])])),
        call("Argument", "norm", || t(&[3]).norm(0.0, &[], false)),
        call("Shape", "var", || t(&[3]).var(&[], 3, false)),
        call("Shape", "logsumexp", || t(&[0, 3]).logsumexp(&[0], false)),
        call("Shape", "argmin", || t(&[0, 3]).argmin(0)),
        call("Shape", "batch_norm", || t(&[4, 3]).batch_norm(&t(&[2]), &t(&[3]), 1e-5)),
        call("DType", "i32", || t(&[4, 3]).batch_norm(&labels(d, &[1, 2, 3]), &t(&[3]), 1e-5)),
        call("Argument", "batch_norm", || t(&[4, 3]).batch_norm(&t(&[3]), &t(&[3]), -1.0)),
        call("Shape", "batch_norm", || t(&[1, 3]).batch_norm(&t(&[3]), &t(&[3]), 1e-5)),
        call("Argument", "bernoulli", || Tensor::bernoulli(d, [3], 1.5, stream)),
        call("NoGradient", "any variable", || t(&[]).backward()),
        call("Shape", "gradient is that of a scalar", || t(&[2]).variable()?.backward()),
        call("NoGradient", "not part of the graph", || t(&[]).variable()?.grad(&[&t(&[])])),
        call("Shape", "cotangent", || t(&[2]).variable()?.exp()?.pull_back(&t(&[3]), &[])),
        call("Shape", "directions", || autodiff::jvp(|x| x[0].exp(), &[&t(&[2])], &[])),
        call("DType", "f64", || t(&[2]).to_device(&Device::cpu())?.add(&double(&[2]))),
    ])
}

#[test]
fn wrong_calls_of_tensors_on_the_cpu() {
    assert!(tensors(&Device::cpu()) >= 55);
}

#[test]
fn wrong_calls_of_tensors_on_an_adapter() {
    assert!(tensors(&common::gpu()) >= 55);
}

#[test]
fn devices_that_differ_or_do_not_exist() {
    let (cpu, gpu) = (Device::cpu(), common::gpu());
    let other = Device::select(&common::adapter()).unwrap();
    let huge = [1 << 30];
    check(vec![
        call("Device", "add", || tensor(&cpu, &[2]).add(&tensor(&gpu, &[2]))),
        call("Device", "matmul", || tensor(&gpu, &[2, 2]).matmul(&tensor(&cpu, &[2, 2]))),
        call("Device", "one tensor is on", || tensor(&gpu, &[2, 2]).matmul(&tensor(&other, &[2, 2]))),
        call("Device", "concat", || Tensor::concat(&[&tensor(&gpu, &[2]), &tensor(&cpu, &[2])], 0)),
        call("DType", "f64", || Tensor::full(&gpu, DType::F64, [2], 0.0)),
        call("NoAdapter", "no such device", || Device::select("no such device")),
        call("NoAdapter", "'99'", || Device::select("99")),
        call("OutOfMemory", "bytes", || tensor(&gpu, &huge).add_scalar(1.0)?.finish()),
    ]);
}

#[test]
fn layers_optimisers_and_initialisers() {
    let d = Device::cpu();
    let params = || Params::new(&d, 0);
    let x = |shape: &[usize]| tensor(&d, shape);
    let trainable = || {
        let p = params();
        p.parameter("x", [1], Init::Ones)?;
        Ok(p)
    };
    check(vec![
        call("Argument", "no parameters", || Adam::new(&params(), 0.1)),
        call("Argument", "weight", || {
            let p = params();
            Linear::new(&p.at("a"), 2, 3)?;
            Linear::new(&p.at("a"), 2, 3)
        }),
        call("Shape", "matmul", || Linear::new(&params().at("a"), 2, 3)?.forward(&x(&[4, 5]))),
        call("Argument", "groups", || {
            Conv2d::new(&params().at("a"), 3, 4, [3, 3], Conv2dOptions::default().groups(2))
        }),
        call("Shape", "batch_norm", || {
            BatchNorm::new(&params().at("a"), 3)?.forward(&x(&[4, 5]), gradus::nn::Mode::Train)
        }),
        call("Shape", "lstm", || Lstm::new(&params(), 3, 4)?.forward(&x(&[2, 5]), None, None, Mode::Eval)),
        call("Shape", "input weight", || {
            Lstm::new(&params(), 3, 4)?.forward(&x(&[2, 5, 6]), None, None, Mode::Eval)
        }),
        call("Shape", "initial state", || {
            Gru::new(&params(), 3, 4)?.forward(&x(&[2, 5, 3]), Some(&x(&[2, 5, 4])), None, Mode::Eval)
        }),
        call("Argument", "0 layers", || {
            let options = RecurrentOptions { layers: 0, ..RecurrentOptions::default() };
            Gru::with(&params(), 3, 4, options)
        }),
        call("Argument", "1 layers with dropout 0.5", || {
            let options = RecurrentOptions { dropout: 0.5, ..RecurrentOptions::default() };
            Lstm::with(&params(), 3, 4, options)
        }),
        call("Argument", "Selu", || {
            Rnn::with(&params(), 3, 4, Nonlinearity::Selu, RecurrentOptions::default())
        }),
        call("Argument", "0 hidden units", || LstmCell::new(&params(), 3, 0)),
        call("Index", "outside 0..3", || {
            let lengths = labels(&Device::cpu(), &[1, 3]);
            Rnn::new(&params(), 3, 4)?.forward(&x(&[2, 2, 3]), None, Some(&lengths), Mode::Eval)
        }),
        call("Shape", "does not end in [3]", || LayerNorm::new(&params(), [3])?.forward(&x(&[4, 5]))),
        call("Argument", "2 groups for 3", || GroupNorm::new(&params(), 2, 3)),
        call("Argument", "Mode::Train", || {
            Dropout::new(&params(), 0.1)?.forward(&x(&[4, 5]), gradus::nn::Mode::Train)
        }),
        call("Argument", "`a.dropout` is defined twice", || {
            let p = params();
            Dropout::new(&p.at("a"), 0.1)?;
            Dropout::new(&p.at("a"), 0.1)
        }),
        call("Argument", "a group without parameters", || {
            Lion::new(&trainable()?, 0.1)?.group(|_| false, Group::default())
        }),
        call("Argument", "alpha 1", || RmsProp::new(&trainable()?, 0.1)?.alpha(1.0)),
        call("Argument", "eps 0", || Lamb::new(&trainable()?, 0.1)?.eps(0.0)),
        call("Argument", "`ema.x` is defined twice", || {
            let p = trainable()?;
            Ema::new(&p, 0.9)?;
            Ema::new(&p, 0.9)
        }),
        call("Format", "`0.1 Fall`", || "0.1 Fall".parse::<Plateau>()),
        call("Argument", "NaN", || Adam::new(&trainable()?, f64::NAN)),
        call("Argument", "-1", || Sgd::new(&trainable()?, -1.0)),
        call("NoGradient", "gradient", || {
            let p = params();
            p.parameter("x", [1], Init::Ones)?;
            let foreign = x(&[]).variable()?.exp()?.backward()?;
            Sgd::new(&p, 0.1)?.step(&foreign)
        }),
        call("Argument", "no such", || params().get("no such")),
        call("Argument", "chapter", || {
            gradus::labs::run("no chapter", &d, &Default::default(), &|_, _, _| {})
        }),
    ]);
}

/// A folder of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gradus-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.0.join(name), bytes).unwrap();
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn loss_scalers() {
    let mut scaler = LossScaler::default();
    check(vec![
        call("Argument", "scale 3", || LossScaler::new(3.0, 10)),
        call("Argument", "patience 0", || LossScaler::new(2.0, 0)),
    ]);
    let error = scaler.unscale(autodiff::Gradients::default()).unwrap_err();
    assert!(error.to_string().contains("no gradients"), "{error}");
}

#[test]
fn files_that_are_missing_cut_off_corrupt_or_of_something_else() {
    let folder = Folder::new("files");
    let d = Device::cpu();
    let model = |width: usize| {
        let p = Params::new(&d, 0);
        Linear::new(&p.at("layer"), 2, width).map(|_| p)
    };
    let good = folder.0.join("good.safetensors");
    model(3).unwrap().save(&good).unwrap();
    let bytes = std::fs::read(&good).unwrap();
    let cut = folder.write("cut.safetensors", &bytes[..bytes.len() - 5]);
    let noise = folder.write("noise.safetensors", &[0xff; 64]);
    let empty = folder.write("empty.safetensors", &[]);
    let mut header = bytes.clone();
    header[12] = b'!';
    let header = folder.write("header.safetensors", &header);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist/t10k-labels-idx1-ubyte.gz");
    let packed = std::fs::read(source).unwrap();
    let truncated = folder.write("truncated.gz", &packed[..packed.len() / 2]);
    let not_idx = folder.write("not-idx", b"hello, I am a text file and not a picture");
    let absent = folder.0.join("absent");
    let blocked = folder.write("a-file", b"");
    let load = |path: &Path, width| model(width)?.load(path);
    check(vec![
        call("Io", "absent", || load(&absent, 3)),
        call("Format", "cut.safetensors", || load(&cut, 3)),
        call("Format", "noise.safetensors", || load(&noise, 3)),
        call("Format", "empty.safetensors", || load(&empty, 3)),
        call("Format", "header.safetensors", || load(&header, 3)),
        call("Format", "layer.weight", || load(&good, 4)),
        call("Format", "good.safetensors", || Checkpoint::load(&good, &model(3)?, None)),
        call("Format", "good.safetensors", || {
            let p = model(3)?;
            Linear::new(&p.at("second"), 2, 2)?;
            p.load(&good)
        }),
        call("Io", "a-file", || model(3)?.save(blocked.join("inside.safetensors"))),
        call("Io", "absent", || idx::read(&absent)),
        call("Format", "truncated.gz", || idx::read(&truncated)),
        call("Format", "not-idx", || idx::read(&not_idx)),
        call("Io", "train-images", || FashionMnist::from_dir(&folder.0)),
        call("Shape", "pixels", || ImageSet::new(vec![0; 5], vec![0], 2, 2)),
        call("Argument", "batch", || Batches::new(10, 0, 0)),
    ]);
    // Nothing was lost: what loads after a failure is what was saved.
    let p = model(3).unwrap();
    let before = p.get("layer.weight").unwrap().get().to_vec::<f32>().unwrap();
    assert!(p.load(&cut).is_err());
    assert_eq!(p.get("layer.weight").unwrap().get().to_vec::<f32>().unwrap(), before);
}

#[test]
fn a_lost_device_is_an_error_and_a_new_one_works() {
    let gpu = common::gpu();
    let x = Tensor::ones(&gpu, [4]).unwrap().add_scalar(1.0).unwrap();
    gpu.as_gpu().unwrap().destroy();
    let error = x.to_vec::<f32>().unwrap_err();
    assert!(matches!(kind(&error), "DeviceLost" | "Validation"), "{error}");
    let again = common::gpu();
    assert_eq!(Tensor::ones(&again, [2]).unwrap().to_vec::<f32>().unwrap(), [1.0, 1.0]);
}

/// An operation of a user's own whose reference does something else than its rule says.
struct Mistaken(&'static str);

impl Op for Mistaken {
    fn name(&self) -> &'static str {
        "mistaken"
    }
    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![inputs[0]])
    }
    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let real =
            |count: usize| Data::Real(Array { shape: outputs[0].shape, data: vec![R::from_f64(1.0); count] });
        match self.0 {
            "reads an integer" => vec![real(inputs.real(1).data.len() + 3)],
            "reads a real" => vec![real(inputs.int(0).data.len() + 3)],
            "reads a third" => vec![real(inputs.real(2).data.len() + 3)],
            "gives two" => vec![real(3), real(3)],
            "gives none" => vec![],
            "gives four" => vec![real(4)],
            _ => vec![Data::Int(Array { shape: outputs[0].shape, data: vec![0; 3] })],
        }
    }
    fn plan(&self, _: &Gpu, _: &[GpuView], _: &[GpuView]) -> Result<()> {
        Ok(())
    }
    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }
    fn vjp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None, None])
    }
    fn jvp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}

#[test]
fn a_reference_that_disagrees_with_its_rule_is_an_error() {
    let d = Device::cpu();
    let (x, k) = (tensor(&d, &[3]), labels(&d, &[0, 1]));
    let run = |mistake| op::apply(Mistaken(mistake), &[&x, &k]);
    check(vec![
        call("Validation", "input 1 as real numbers, which is of integers", || run("reads an integer")),
        call("Validation", "input 0 as integers, which is of real numbers", || run("reads a real")),
        call("Validation", "input 2 as real numbers, which does not exist", || run("reads a third")),
        call("Validation", "1 outputs, its reference gives 2", || run("gives two")),
        call("Validation", "1 outputs, its reference gives 0", || run("gives none")),
        call("Validation", "output 0 is [3] f32 by its rule, 4 real numbers", || run("gives four")),
        call("Validation", "output 0 is [3] f32 by its rule, 3 integers", || run("gives integers")),
    ]);
}
