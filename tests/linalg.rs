//! Dense linear algebra by its residuals. What a Cholesky factor or a triangular solve may leave is bounded by
//! the backward error analysis that its documentation states, whatever the condition of the matrix; the
//! error against f64 is printed beside it.

mod common;

use gradus::ops::lanczos;
use gradus::verify::Input;
use gradus::{DType, Device, Result, Tensor, autodiff};

/// γₙ for n roundings of a unit that WGSL grants.
fn gamma(n: usize) -> f64 {
    let nu = n as f64 / f64::from(1 << 23);
    nu / (1.0 - nu)
}

fn random(device: &Device, dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    Input::uniform(shape, -1.0, 1.0).make(device, dtype, seed).unwrap()
}

fn in_f64(t: &Tensor) -> Tensor {
    Tensor::from_slice(&Device::cpu(), &t.to_f64().unwrap(), t.shape()).unwrap()
}

fn eye(n: usize, scale: f64) -> Tensor {
    let data: Vec<f64> = (0..n * n).map(|i| if i % (n + 1) == 0 { scale } else { 0.0 }).collect();
    Tensor::from_slice(&Device::cpu(), &data, [n, n]).unwrap()
}

/// The largest share of `allowed` that an element of `residual` takes.
fn share(residual: &Tensor, allowed: &Tensor) -> f64 {
    let (residual, allowed) = (residual.to_f64().unwrap(), allowed.to_f64().unwrap());
    assert!(!residual.is_empty() && residual.len() == allowed.len());
    residual.iter().zip(&allowed).fold(0.0, |m, (r, a)| {
        let share = if *r == 0.0 { 0.0 } else { r.abs() / a };
        if share.is_nan() { f64::INFINITY } else { share.max(m) }
    })
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_f64().unwrap(), b.to_f64().unwrap());
    let size = b.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    a.iter().zip(&b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / size
}

/// A positive definite matrix as f32 holds it: X·Xᵀ/n plus a ridge.
fn definite(n: usize, ridge: f64) -> Result<Tensor> {
    let x = random(&Device::cpu(), DType::F64, &[n, n], n as u64);
    let a = x.matmul(&x.t()?)?.mul_scalar(1.0 / n as f64)?.add(&eye(n, ridge))?;
    a.to_dtype(DType::F32)
}

#[test]
fn factors_and_solutions_are_within_their_residual_bounds() -> Result<()> {
    for device in [common::gpu(), Device::cpu()] {
        for (n, ridge) in [(1, 1.0), (5, 0.1), (64, 1e-2), (65, 1e-4), (200, 1e-2), (400, 1e-2)] {
            let a = definite(n, ridge)?.to_device(&device)?;
            let l = a.cholesky()?;
            let (exact_a, exact_l) = (in_f64(&a), in_f64(&l));
            let left = exact_l.matmul(&exact_l.t()?)?.sub(&exact_a)?;
            let magnitudes = exact_l.abs()?.matmul(&exact_l.abs()?.t()?)?;
            let factor = share(&left, &magnitudes.mul_scalar(gamma(n + 8))?);

            let b = random(&device, DType::F32, &[n, 3], 7);
            let mut solves = 0.0f64;
            for transpose in [false, true] {
                let x = in_f64(&l.triangular_solve_with(&b, false, transpose)?);
                let t = if transpose { exact_l.t()? } else { exact_l.clone() };
                let allowed = t.abs()?.matmul(&x.abs()?)?.mul_scalar(gamma(n + 4))?;
                solves = solves.max(share(&t.matmul(&x)?.sub(&in_f64(&b))?, &allowed));
            }
            let truth = exact_a.cholesky()?;
            let solution = distance(&l.cholesky_solve(&b)?, &truth.cholesky_solve(&in_f64(&b))?);
            println!(
                "{device}, n = {n}: factor {factor:.4}, triangular solves {solves:.4} of the bound; L {:.1e}, \
                 A⁻¹B {solution:.1e} off f64",
                distance(&l, &truth)
            );
            assert!(factor <= 1.0 && solves <= 1.0);
        }
    }
    Ok(())
}

/// A wrong factor is seen: the criterion is no wider than what it is to find.
#[test]
fn the_criterion_notices_one_wrong_entry() -> Result<()> {
    let a = in_f64(&definite(64, 1e-2)?);
    let l = a.cholesky()?;
    let mut wrong = l.to_f64()?;
    wrong[40 * 64 + 20] += 1e-4;
    let wrong = Tensor::from_slice(&Device::cpu(), &wrong, [64, 64])?;
    let allowed = l.abs()?.matmul(&l.abs()?.t()?)?.mul_scalar(gamma(72))?;
    assert!(share(&l.matmul(&l.t()?)?.sub(&a)?, &allowed) < 1e-6);
    assert!(share(&wrong.matmul(&wrong.t()?)?.sub(&a)?, &allowed) > 1.0);
    Ok(())
}

/// An operator with known eigenvalues: a reflection H = I − 2uuᵀ about a diagonal matrix.
#[test]
fn lanczos_finds_known_eigenvalues_and_bounds_its_error() -> Result<()> {
    let n = 120;
    let known: Vec<f64> =
        (0..n).map(|i| if i < 3 { 10.0 * (i + 1) as f64 } else { i as f64 / n as f64 }).collect();
    for (device, dtype) in
        [(common::gpu(), DType::F32), (Device::cpu(), DType::F32), (Device::cpu(), DType::F64)]
    {
        let u = random(&Device::cpu(), DType::F64, &[n, 1], 3);
        let u = u.mul_scalar(1.0 / u.square()?.sum(&[], false)?.item()?.sqrt())?;
        let h = eye(n, 1.0).sub(&u.matmul(&u.t()?)?.mul_scalar(2.0)?)?;
        let d = Tensor::from_slice(&Device::cpu(), &known, [n, 1])?;
        let a = h.matmul(&h.mul(&d)?)?.to_dtype(dtype)?.to_device(&device)?;
        let start = random(&device, dtype, &[n], 4);
        let spectrum = lanczos(|v| a.matmul(&v.unsqueeze(1)?)?.squeeze(-1), &start, 30)?;
        // A in the type's rounding is another matrix, with eigenvalues as far off as its entries' errors.
        let rounding = if dtype == DType::F64 { 1e-12 } else { 30.0 * gamma(n) };
        for (value, residual) in spectrum.values.iter().zip(&spectrum.residuals) {
            let nearest = known.iter().fold(f64::INFINITY, |m, k| m.min((k - value).abs()));
            assert!(
                nearest <= residual + rounding,
                "{device} {dtype}: {value} is {nearest} off, bound {residual}"
            );
        }
        let top: Vec<f64> = spectrum.values.iter().rev().take(3).copied().collect();
        let worst = top.iter().zip([30.0, 20.0, 10.0]).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
        let y = spectrum.vector(spectrum.values.len() - 1)?;
        let image = in_f64(&a).matmul(&in_f64(&y).unsqueeze(1)?)?.squeeze(-1)?;
        let left = image.sub(&in_f64(&y).mul_scalar(top[0])?)?.square()?.sum(&[], false)?.item()?.sqrt();
        println!("{device} {dtype}: three largest {worst:.1e} off, ‖Ay − θy‖ {left:.1e}");
        assert!(worst <= rounding && left <= rounding);
        let gram = spectrum.basis.matmul(&spectrum.basis.t()?)?;
        let orthogonal = distance(&gram, &eye(spectrum.values.len(), 1.0));
        assert!(orthogonal <= rounding, "{orthogonal}");
    }
    Ok(())
}

/// The Hessian of a quartic by `hvp`, its spectrum by Lanczos; a start in a small invariant space ends early.
#[test]
fn lanczos_takes_a_hessian_and_stops_in_an_invariant_space() -> Result<()> {
    let at = Tensor::from_slice(&Device::cpu(), &[1.0f64, 2.0, 3.0, 0.5], [4])?;
    let product = |v: &Tensor| {
        let loss = |x: &[Tensor]| x[0].powi(4)?.sum(&[], false);
        Ok(autodiff::hvp(loss, &[&at], &[v])?.swap_remove(0))
    };
    let all = lanczos(product, &Tensor::from_slice(&Device::cpu(), &[1.0f64; 4], [4])?, 10)?;
    for (value, expected) in all.values.iter().zip([3.0, 12.0, 48.0, 108.0]) {
        assert!((value - expected).abs() < 1e-10, "{:?}", all.values);
    }
    let two = lanczos(product, &Tensor::from_slice(&Device::cpu(), &[1.0f64, 0.0, 1.0, 0.0], [4])?, 10)?;
    assert_eq!(two.values.len(), 2);
    assert!(two.residuals.iter().all(|r| *r < 1e-10) && (two.values[1] - 108.0).abs() < 1e-10);
    Ok(())
}
