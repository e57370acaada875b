//! Jacobians, Hessians, per-example gradients and recomputation.

mod common;

use gradus::autodiff::{checkpoint, hessian, hvp, jacobian, per_example_grad};
use gradus::nn::{Checkpoint, Conv2d, Linear, Mode, Module, Params, Sequential};
use gradus::{DType, Device, Error, Result, Tensor};

fn devices() -> [Device; 2] {
    [Device::cpu(), common::gpu()]
}

fn vector(device: &Device, values: &[f32]) -> Tensor {
    Tensor::from_slice(device, values, [values.len()]).unwrap()
}

/// Numbers that look random, around zero.
fn noise(device: &Device, shape: &[usize], seed: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let data: Vec<f32> =
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.0 - 1.0).collect();
    Tensor::from_slice(device, &data, shape).unwrap()
}

fn near(a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.shape(), b.shape());
    for (a, b) in a.to_f64().unwrap().into_iter().zip(b.to_f64().unwrap()) {
        assert!((a - b).abs() <= tolerance, "{a} and {b}");
    }
}

#[test]
fn the_jacobian_of_a_linear_map_is_its_matrix_by_rows_and_by_columns() {
    for device in devices() {
        for (m, n) in [(2, 5), (5, 2), (3, 3)] {
            let a = noise(&device, &[m, n], 1);
            let x = noise(&device, &[n, 1], 2);
            let j = jacobian(|x| a.matmul(x), &x).unwrap();
            assert_eq!(**j.shape(), [m, 1, n, 1]);
            assert_eq!(j.to_vec::<f32>().unwrap(), a.to_vec::<f32>().unwrap());
        }
    }
}

#[test]
fn a_jacobian_can_be_differentiated_again() {
    let x = vector(&Device::cpu(), &[2.0, -3.0]).variable().unwrap();
    let j = jacobian(|x| x.powi(3), &x).unwrap();
    assert_eq!(j.to_vec::<f32>().unwrap(), [12.0, 0.0, 0.0, 27.0]);
    let again = j.sum(&[], false).unwrap().grad(&[&x]).unwrap();
    assert_eq!(again[0].to_vec::<f32>().unwrap(), [12.0, -18.0]);
}

#[test]
fn what_does_not_depend_on_the_point_has_a_jacobian_of_zeros() {
    let x = vector(&Device::cpu(), &[1.0, 2.0]);
    let zeros = jacobian(|x| Tensor::ones(x.device(), [3]), &x).unwrap();
    assert_eq!(zeros.to_vec::<f32>().unwrap(), [0.0; 6]);
    assert_eq!(hessian(|x| x.sum(&[], false), &x).unwrap().to_vec::<f32>().unwrap(), [0.0; 4]);
    assert!(matches!(hessian(|x| x.square(), &x), Err(Error::Shape { .. })));
    let deep = Tensor::ones(&Device::cpu(), [1; 5]).unwrap();
    assert!(matches!(jacobian(|x| x.square(), &deep), Err(Error::Shape { .. })));
}

/// A function with curvature in every pair of directions.
fn curved(x: &Tensor) -> Result<Tensor> {
    let product = x.reshape([2, 2])?.matmul(&x.reshape([2, 2])?.tanh()?)?;
    product.square()?.sum(&[], false)
}

#[test]
fn the_hessian_is_symmetric_and_its_products_are_those_of_hvp() {
    let data = [0.3f64, -0.7, 1.1, 0.4];
    let x = Tensor::from_slice(&Device::cpu(), &data, [4]).unwrap();
    let h = hessian(curved, &x).unwrap();
    near(&h, &h.t().unwrap(), 1e-14);
    let v = Tensor::from_slice(&Device::cpu(), &[1.0f64, -2.0, 0.5, 3.0], [4]).unwrap();
    let product = h.matmul(&v.unsqueeze(1).unwrap()).unwrap().reshape([4]).unwrap();
    near(&product, &hvp(|x| curved(&x[0]), &[&x], &[&v]).unwrap()[0], 1e-13);
    // The third derivative, through the Hessian: differences of one entry.
    let tracked = x.variable().unwrap();
    let entry = |x: &Tensor| hessian(curved, x)?.select(0, 0)?.select(0, 1);
    let slope = entry(&tracked).unwrap().grad(&[&tracked]).unwrap()[0].to_f64().unwrap();
    for k in 0..4 {
        let at = |h: f64| {
            let mut moved = data;
            moved[k] += h;
            entry(&Tensor::from_slice(&Device::cpu(), &moved, [4]).unwrap()).unwrap().item().unwrap()
        };
        let difference = (at(1e-4) - at(-1e-4)) / 2e-4;
        assert!((difference - slope[k]).abs() < 1e-6 * (1.0 + difference.abs()), "{difference} {}", slope[k]);
    }
}

fn small(params: &Params) -> Result<Sequential> {
    let options = gradus::ops::Conv2dOptions::default().padding([1, 1]).groups(2);
    Ok(Sequential::new()
        .add(Conv2d::new(&params.at("conv"), 2, 4, [3, 3], options)?)
        .add(Tensor::tanh)
        .then(|x| x.flatten(1))
        .add(Linear::new(&params.at("head"), 4 * 16, 3)?))
}

#[test]
fn per_example_gradients_batched_are_those_of_one_example_after_the_other() {
    for device in devices() {
        let params = Params::new(&device, 4);
        let model = small(&params).unwrap();
        let x = noise(&device, &[6, 2, 4, 4], 1);
        let labels = Tensor::from_slice(&device, &[0, 1, 2, 0, 1, 2], [6]).unwrap();
        let losses = |x: &Tensor, labels: &Tensor| {
            let logits = model.forward(x, Mode::Train)?;
            logits.cross_entropy_with(labels, gradus::ops::Reduction::None)
        };
        let batched = params.per_example_grad(6, || losses(&x, &labels)).unwrap();
        let now: Vec<Tensor> = params.trainable().iter().map(|p| p.get()).collect();
        let one_by_one = per_example_grad(
            |values, batch| params.with(values, || losses(&batch[0], &batch[1])),
            &now.iter().collect::<Vec<_>>(),
            &[&x, &labels],
        )
        .unwrap();
        assert_eq!(batched.len(), 4);
        for (a, b) in batched.iter().zip(&one_by_one) {
            near(a, b, 1e-6);
        }
        // Their sum is the gradient of the sum.
        let whole = losses(&x, &labels).unwrap().sum(&[], false).unwrap().backward().unwrap();
        for (g, p) in batched.iter().zip(params.trainable()) {
            near(&g.sum(&[0], false).unwrap(), whole.get(&p.get()).unwrap(), 1e-5);
        }
    }
}

#[test]
fn the_kernel_of_per_example_jacobians_is_that_of_the_whole_jacobian() {
    let device = common::gpu();
    let params = Params::new(&device, 9);
    let hidden = Linear::new(&params.at("hidden"), 5, 32).unwrap();
    let output = Linear::new(&params.at("output"), 32, 1).unwrap();
    let x = noise(&device, &[7, 5], 3);
    let f = || output.forward(&hidden.forward(&x)?.relu()?)?.reshape([7]);
    let mut kernel = Tensor::zeros(&device, [7, 7]).unwrap();
    for j in params.per_example_grad(7, f).unwrap() {
        let j = j.flatten(1).unwrap();
        kernel = kernel.add(&j.matmul(&j.t().unwrap()).unwrap()).unwrap();
    }
    let mut other = Tensor::zeros(&device, [7, 7]).unwrap();
    for (k, p) in params.trainable().into_iter().enumerate() {
        let values: Vec<Tensor> = params.trainable().iter().map(|p| p.get().detach()).collect();
        let of = |value: &Tensor| {
            let mut values = values.clone();
            values[k] = value.clone();
            params.with(&values, f)
        };
        let j = jacobian(of, &p.get().detach()).unwrap().reshape([7, p.count()]).unwrap();
        other = other.add(&j.matmul(&j.t().unwrap()).unwrap()).unwrap();
    }
    near(&kernel, &other, 1e-4);
    assert!(kernel.max(&[], false).unwrap().item().unwrap() > 1.0);
}

#[test]
fn per_example_gradients_refuse_what_has_no_meaning() {
    let params = Params::new(&Device::cpu(), 0);
    let layer = Linear::new(&params, 3, 2).unwrap();
    let x = Tensor::ones(&Device::cpu(), [4, 3]).unwrap();
    let of_all = params.per_example_grad(4, || layer.forward(&x));
    assert!(matches!(of_all, Err(Error::Shape { .. })));
    let too_few = params.per_example_grad(5, || layer.forward(&x)?.sum(&[1], false));
    assert!(matches!(too_few, Err(Error::Shape { .. })));
    // The parameters are back, whatever happened.
    assert_eq!(**layer.weight.get().shape(), [2, 3]);
    let none = Tensor::ones(&Device::cpu(), [0, 3]).unwrap();
    let empty = per_example_grad(|p, _| p[0].sum(&[], false), &[&x], &[&none]);
    assert!(matches!(empty, Err(Error::Argument { .. })));
}

#[test]
fn a_checkpoint_has_the_derivatives_of_what_is_inside() {
    for device in devices() {
        let inside = |x: &[Tensor]| x[0].matmul(&x[1])?.tanh()?.matmul(&x[1]);
        let (x, w) = (noise(&device, &[3, 4], 1), noise(&device, &[4, 4], 2));
        let gradients = |wrapped: bool| -> Result<[Vec<Tensor>; 2]> {
            let (x, w) = (x.variable()?, w.variable()?);
            let y = if wrapped { checkpoint(inside, &[&x, &w])? } else { inside(&[x.clone(), w.clone()])? };
            let loss = y.square()?.sum(&[], false)?;
            let plain = loss.backward()?;
            let first = loss.grad(&[&x, &w])?;
            let slope = first[0].square()?.sum(&[], false)?.add(&first[1].square()?.sum(&[], false)?)?;
            let second = slope.grad(&[&x, &w])?;
            let of_first_order = [&y, plain.get(&x)?, plain.get(&w)?, &first[0], &first[1]];
            Ok([of_first_order.into_iter().cloned().collect(), second])
        };
        let [[wrapped, wrapped_second], [bare, bare_second]] = [true, false].map(|w| gradients(w).unwrap());
        for (a, b) in wrapped.iter().zip(&bare) {
            assert_eq!(a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap(), "{device}");
        }
        // Of second order, what reaches one tensor on several ways is added in another order.
        for (a, b) in wrapped_second.iter().zip(&bare_second) {
            near(a, b, 1e-4);
        }
        // Forward over reverse, with one input at rest.
        let product = |wrapped: bool| {
            let f = |v: &[Tensor]| {
                let inputs = [v[0].clone(), w.clone()];
                let y =
                    if wrapped { checkpoint(inside, &[&inputs[0], &inputs[1]])? } else { inside(&inputs)? };
                y.square()?.sum(&[], false)
            };
            hvp(f, &[&x], &[&x]).unwrap().swap_remove(0)
        };
        near(&product(true), &product(false), 1e-4);
    }
}

#[test]
fn a_checkpoint_that_would_lose_a_gradient_is_refused() {
    let x = vector(&Device::cpu(), &[1.0, 2.0]).variable().unwrap();
    let hidden = x.clone();
    let lost = checkpoint(move |v| v[0].mul(&hidden), &[&x]);
    assert!(matches!(lost, Err(Error::NoGradient { .. })), "{lost:?}");
}

#[test]
fn a_checkpointed_module_learns_the_same_bits() {
    let gradients = |wrapped: bool| {
        let params = Params::new(&Device::cpu(), 2);
        let model = small(&params).unwrap();
        let x = noise(&Device::cpu(), &[5, 2, 4, 4], 1).variable().unwrap();
        let y = if wrapped {
            Checkpoint::new(&params, model).forward(&x, Mode::Train)
        } else {
            model.forward(&x, Mode::Train)
        };
        let found = y.unwrap().square().unwrap().sum(&[], false).unwrap().backward().unwrap();
        let all = params.trainable().into_iter().map(|p| p.get()).chain([x]);
        all.map(|p| found.get(&p).unwrap().to_vec::<f32>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(gradients(true), gradients(false));
}

#[test]
fn transforms_take_every_floating_type() {
    for dtype in [DType::F16, DType::F64, DType::Bounded] {
        let x = vector(&Device::cpu(), &[1.0, 2.0, 4.0]).to_dtype(dtype).unwrap();
        let j = jacobian(|x| x.square(), &x).unwrap();
        assert_eq!(j.to_f64().unwrap(), [2.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 8.0]);
    }
    let whole = Tensor::arange(&Device::cpu(), 0, 3).unwrap();
    assert!(matches!(jacobian(|x| Ok(x.clone()), &whole), Err(Error::DType { .. })));
}
