//! The three ways against each other, the limits against closed forms and against wide networks.

use super::*;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::nn::{BatchNorm, Conv2d, LayerInit, Linear, Mode, Module, Params, Sequential};
use crate::op::counted;
use crate::ops::Conv2dOptions;
use crate::ops::random::Stream;
use crate::optim::{Optimizer, Sgd};
use crate::tensor::Tensor;
use std::f64::consts::PI;

const METHODS: [NtkMethod; 3] = [NtkMethod::Jacobian, NtkMethod::Products, NtkMethod::Layers];

fn normal(shape: &[usize], stream: u64) -> Tensor {
    Tensor::normal_in(&Device::cpu(), DType::F64, shape, Stream::new(3, stream)).unwrap()
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    let size = b.abs().unwrap().max(&[], false).unwrap().item().unwrap();
    a.sub(b).unwrap().abs().unwrap().max(&[], false).unwrap().item().unwrap() / size
}

fn agree(params: &Params, model: &dyn Module, x1: &Tensor, x2: &Tensor, outputs: usize) {
    let f = |x: &Tensor| model.forward(x, Mode::Eval);
    for x2 in [None, Some(x2)] {
        let kernels = METHODS.map(|method| empirical_ntk(params, f, x1, x2, method).unwrap());
        let m = x2.unwrap_or(x1).shape()[0];
        assert_eq!(**kernels[0].shape(), [x1.shape()[0], m, outputs, outputs]);
        assert!(worst(&kernels[1], &kernels[0]) < 1e-12 && worst(&kernels[2], &kernels[0]) < 1e-12);
    }
}

#[test]
fn three_ways_give_one_kernel_for_fully_connected_layers() {
    let params = Params::new_f64(5);
    let model = Sequential::new()
        .add(Linear::new(&params.at("a"), 5, 7).unwrap())
        .add(Tensor::tanh)
        .add(Linear::with(&params.at("b"), 7, 6, LayerInit::without_bias()).unwrap())
        .add(Tensor::relu)
        .add(Linear::new(&params.at("c"), 6, 3).unwrap());
    agree(&params, &model, &normal(&[4, 5], 1), &normal(&[3, 5], 2), 3);
}

#[test]
fn three_ways_give_one_kernel_for_convolutions() {
    let params = Params::new_f64(6);
    let options = Conv2dOptions::default().stride([2, 1]).padding([1, 1]);
    let model = Sequential::new()
        .add(Conv2d::new(&params.at("a"), 2, 3, [3, 3], options).unwrap())
        .add(Tensor::tanh)
        .add(Conv2d::new(&params.at("b"), 3, 9, [3, 2], Conv2dOptions::default()).unwrap())
        .add(Tensor::relu)
        .then(|x| x.mean(&[2, 3], false))
        .add(Linear::new(&params.at("c"), 9, 2).unwrap());
    agree(&params, &model, &normal(&[2, 2, 5, 6], 3), &normal(&[3, 2, 5, 6], 4), 2);
}

#[test]
fn a_layer_used_twice_and_one_of_many_positions() {
    let params = Params::new_f64(7);
    let layer = Linear::new(&params.at("shared"), 4, 4).unwrap();
    let readout = Linear::new(&params.at("readout"), 4, 2).unwrap();
    let f = move |x: &Tensor| readout.forward(&layer.forward(&layer.forward(x)?.tanh()?)?.tanh()?);
    agree(&params, &f, &normal(&[3, 4], 5), &normal(&[2, 4], 6), 2);
    let rows = |x: &Tensor| f(x)?.sum(&[1], false);
    agree(&params, &rows, &normal(&[3, 5, 4], 7), &normal(&[2, 5, 4], 8), 2);
}

#[test]
fn a_parameter_that_a_method_does_not_know_is_an_error_that_names_it() {
    let params = Params::new_f64(8);
    let model = Sequential::new()
        .add(Linear::new(&params.at("a"), 2, 3).unwrap())
        .add(BatchNorm::new(&params.at("norm"), 3).unwrap());
    let f = |x: &Tensor| model.forward(x, Mode::Eval);
    let x = normal(&[4, 2], 9);
    let refused = empirical_ntk(&params, f, &x, None, NtkMethod::Layers);
    assert!(matches!(refused, Err(Error::Argument { .. })));
    assert!(empirical_ntk(&params, f, &x, None, NtkMethod::Products).is_ok());
    let flat = empirical_ntk(&params, |x| f(x)?.sum(&[1], false), &x, None, NtkMethod::Products);
    assert!(matches!(flat, Err(Error::Shape { .. })));
}

#[test]
fn layers_cost_less_than_jacobians_for_wide_networks() {
    let params = Params::new_f64(9);
    let model = FullyConnected::relu(2).network(&params, 8, 64, 2).unwrap();
    let x = normal(&[6, 8], 10);
    let f = |x: &Tensor| model.forward(x, Mode::Eval);
    let cost = METHODS.map(|method| counted(|| empirical_ntk(&params, f, &x, None, method).unwrap()).1);
    assert!(cost[2] * 4 < cost[0] && cost[0] > 0 && cost[1] > 0, "{cost:?}");
}

/// E g(u)h(v) over the Gaussian with variances a, b and covariance s, by the trapezoidal rule, whose error for the
/// smooth functions is below rounding.
fn quadrature(g: impl Fn(f64) -> f64, h: impl Fn(f64) -> f64, [a, s, b]: [f64; 3]) -> f64 {
    let (n, step) = (400, 0.04);
    let along = s / a.sqrt();
    let across = (b - along * along).max(0.0).sqrt();
    let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * PI).sqrt() * step;
    let mut sum = 0.0;
    for i in -n / 2..=n / 2 {
        let x = f64::from(i) * step;
        let inner: f64 = (-n / 2..=n / 2)
            .map(|j| {
                let y = f64::from(j) * step;
                h(along * x + across * y) * density(y)
            })
            .sum();
        sum += g(a.sqrt() * x) * inner * density(x);
    }
    sum
}

#[test]
fn expectations_are_those_of_gaussian_integrals() {
    let cpu = Device::cpu();
    let one = |x: f64| Tensor::from_slice(&cpu, &[x], [1]).unwrap();
    let relu = |z: f64| z.max(0.0);
    let step = |z: f64| {
        if z > 0.0 {
            1.0
        } else if z == 0.0 {
            0.5
        } else {
            0.0
        }
    };
    let bell = |z: f64| 2.0 / PI.sqrt() * (-z * z).exp();
    for [a, s, b] in [[1.0, 0.3, 1.0], [0.7, -0.5, 1.4], [2.0, 1.2, 0.8]] {
        for (phi, tolerance) in [(Phi::Relu, 2e-3), (Phi::Erf, 1e-9)] {
            let (values, slopes) = phi.expectations(&one(s), &one(a), &one(b)).unwrap();
            let [expected, steep] = match phi {
                Phi::Relu => [quadrature(relu, relu, [a, s, b]), quadrature(step, step, [a, s, b])],
                Phi::Erf => [quadrature(libm::erf, libm::erf, [a, s, b]), quadrature(bell, bell, [a, s, b])],
            };
            let (values, slopes) = (values.item().unwrap(), slopes.item().unwrap());
            assert!((values - expected).abs() < tolerance, "{phi:?}: {values} {expected}");
            assert!((slopes - steep).abs() < 5.0 * tolerance, "{phi:?}′: {slopes} {steep}");
            let (same, _) = phi.expectations(&one(a), &one(a), &one(a)).unwrap();
            let own = phi.second_moment(&one(a)).unwrap().item().unwrap();
            assert!((same.item().unwrap() - own).abs() < 1e-12);
        }
    }
}

#[test]
fn the_kernel_of_depth_h_is_h_plus_one_on_the_sphere() {
    let x = normal(&[5, 4], 11);
    let x = x.div(&x.square().unwrap().sum(&[1], true).unwrap().sqrt().unwrap()).unwrap();
    for hidden in [0, 1, 3] {
        let kernels = FullyConnected::relu(hidden).kernels(&x, &x).unwrap();
        let (nngp, ntk) = (kernels.nngp.to_f64().unwrap(), kernels.ntk.to_f64().unwrap());
        for i in 0..5 {
            // A cosine that is one but for rounding costs its root.
            assert!((ntk[6 * i] - (hidden + 1) as f64).abs() < 1e-6 && (nngp[6 * i] - 1.0).abs() < 1e-12);
        }
    }
}

#[test]
fn an_image_of_one_pixel_is_a_vector() {
    let (x1, x2) = (normal(&[3, 4], 12), normal(&[2, 4], 13));
    let image = |x: &Tensor| x.unsqueeze(2).unwrap().unsqueeze(3).unwrap();
    for readout in [Readout::Flatten, Readout::GlobalAverage] {
        for phi in [Phi::Relu, Phi::Erf] {
            let plane = Convolutional { layers: 3, kernel: 1, phi, weight_var: 1.7, bias_var: 0.2, readout };
            let vector = FullyConnected { hidden: 3, phi, weight_var: 1.7, bias_var: 0.2 };
            let (a, b) = (plane.kernels(&image(&x1), &image(&x2)), vector.kernels(&x1, &x2));
            let (a, b) = (a.unwrap(), b.unwrap());
            assert!(worst(&a.ntk, &b.ntk) < 1e-13 && worst(&a.nngp, &b.nngp) < 1e-13);
        }
    }
}

/// The mean NTK of a few finite networks, relative to a limit.
fn distance(limit: &Tensor, nets: u64, kernel: impl Fn(&Params) -> Result<Tensor>) -> f64 {
    let mut sum = limit.full_like(0.0).unwrap();
    for net in 0..nets {
        let params = Params::new(&Device::cpu(), 100 + net);
        let one = kernel(&params).unwrap().reshape(limit.shape()).unwrap();
        sum = sum.add(&one.to_dtype(DType::F64).unwrap()).unwrap();
    }
    worst(&sum.mul_scalar(1.0 / nets as f64).unwrap(), limit)
}

#[test]
fn wide_networks_have_the_kernels_of_their_limits() {
    let x = normal(&[4, 6], 14).mul_scalar(0.4).unwrap();
    let narrow = x.to_dtype(DType::F32).unwrap();
    for limit in [FullyConnected::relu(2), FullyConnected::erf(2)] {
        let expected = limit.kernels(&x, &x).unwrap().ntk;
        let apart = distance(&expected, 8, |params| {
            let net = limit.network(params, 6, 512, 1)?;
            empirical_ntk(params, |x| net.forward(x, Mode::Eval), &narrow, None, NtkMethod::Layers)
        });
        assert!(apart < 0.1, "{limit:?}: {apart}");
    }
    let images = normal(&[3, 2, 4, 3], 15);
    let narrow = images.to_dtype(DType::F32).unwrap();
    for readout in [Readout::Flatten, Readout::GlobalAverage] {
        for (phi, bias_var) in [(Phi::Relu, 0.0), (Phi::Erf, 0.1)] {
            let limit = Convolutional { layers: 2, kernel: 3, phi, weight_var: 1.9, bias_var, readout };
            let expected = limit.kernels(&images, &images).unwrap().ntk;
            let apart = distance(&expected, 8, |params| {
                let net = limit.network(params, 2, [4, 3], 128, 1)?;
                empirical_ntk(params, |x| net.forward(x, Mode::Eval), &narrow, None, NtkMethod::Layers)
            });
            assert!(apart < 0.15, "{limit:?}: {apart}");
        }
    }
}

#[test]
fn regression_interpolates_and_is_certain_where_it_was_told() {
    let (x, y) = (normal(&[6, 3], 16), normal(&[6, 2], 17));
    let kernel = FullyConnected::erf(2).kernels(&x, &x).unwrap().ntk;
    let regression = KernelRegression::fit(&kernel, &y, 0.0).unwrap();
    assert!(worst(&regression.predict(&kernel).unwrap(), &y) < 1e-9);
    let own = kernel.mul(
        &Tensor::full(&Device::cpu(), DType::F64, [6, 6], 1.0).unwrap().tril(0).unwrap().triu(0).unwrap(),
    );
    let own = own.unwrap().sum(&[1], false).unwrap();
    let variance = regression.variance(&kernel, &own).unwrap().to_f64().unwrap();
    assert!(variance.iter().all(|v| v.abs() < 1e-9), "{variance:?}");
    // With an orthogonal kernel a ridge divides by 1 + λ.
    let identity =
        Tensor::full(&Device::cpu(), DType::F64, [6, 6], 1.0).unwrap().tril(0).unwrap().triu(0).unwrap();
    let shrunk = KernelRegression::fit(&identity, &y, 0.25).unwrap().predict(&identity).unwrap();
    assert!(worst(&shrunk, &y.mul_scalar(0.8).unwrap()) < 1e-12);
    assert!(matches!(KernelRegression::fit(&kernel, &y, -1.0), Err(Error::Argument { .. })));
    assert!(matches!(KernelRegression::fit(&kernel, &x.t().unwrap(), 1.0), Err(Error::Shape { .. })));
}

#[test]
fn a_linearised_network_follows_its_kernel() {
    let params = Params::new_f64(18);
    let network = FullyConnected::erf(1).network(&params, 3, 16, 1).unwrap();
    let (x, y) = (normal(&[5, 3], 19), normal(&[5, 1], 20));
    let kernel = empirical_ntk(&params, |x| network.forward(x, Mode::Eval), &x, None, NtkMethod::Layers);
    let kernel = kernel.unwrap().reshape([5, 5]).unwrap();
    let mut expected = network.forward(&x, Mode::Eval).unwrap().detach();
    let (rate, tangent) = (0.05, Linearised::new(&params, network));
    let mut sgd = Sgd::new(&params, rate).unwrap();
    for _ in 0..20 {
        let outputs = tangent.forward(&x, Mode::Eval).unwrap();
        assert!(worst(&outputs, &expected) < 1e-12);
        let loss =
            outputs.sub(&y).unwrap().square().unwrap().sum(&[], false).unwrap().mul_scalar(0.5).unwrap();
        let gradients = loss.backward().unwrap();
        assert_eq!(gradients.len(), params.trainable().len(), "nothing flows back to the start");
        sgd.step(&gradients).unwrap();
        let residual = expected.sub(&y).unwrap();
        expected = expected.sub(&kernel.matmul(&residual).unwrap().mul_scalar(rate).unwrap()).unwrap();
    }
    assert!(
        tangent
            .moved()
            .unwrap()
            .iter()
            .all(|m| m.square().unwrap().sum(&[], false).unwrap().item().unwrap() > 0.0)
    );
}
