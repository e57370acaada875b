//! Wrong calls of tensors, and devices that differ or do not exist.

use super::*;

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
