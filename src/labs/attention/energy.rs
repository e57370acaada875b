//! What softmax of independent normal logits is on average, exactly, for finitely many of them.

/// Mean entropy, in nats, and mean Σp² of p = softmax(s) for n logits s ~ N(0, σ²).
///
/// With w = exp(s) and Z = Σw, 1/Zᵏ is an integral over t of exp(−tZ), and under it the logits are independent: with
/// g_f(t) = E f·exp(−tw) for one of them,
/// E ln Z = ∫ (exp(−t) − g₁ⁿ)/t dt, E Σ p·s = n ∫ g_{sw}·g₁ⁿ⁻¹ dt, E Σp² = n ∫ t·g_{ww}·g₁ⁿ⁻¹ dt.
/// Both integrals are sums over even steps, in ln t and in s/σ, which converge faster than any power here.
pub(super) fn softmax_of_normal(n: f64, sigma: f64) -> (f64, f64) {
    const STEP: f64 = 0.02;
    let grid: Vec<(f64, f64)> = (-450..=450)
        .map(|i| {
            let x = f64::from(i) * STEP;
            (x, STEP * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt())
        })
        .collect();
    let (low, high, du) = (-9.0 * sigma - 20.0, 8.0, 0.05);
    let (mut log_sum, mut score, mut squares) = (0.0, 0.0, 0.0);
    let steps = ((high - low) / du) as usize;
    for i in 0..=steps {
        let u = low + i as f64 * du;
        let t = u.exp();
        // 1 − g₁, so that what is tiny keeps its digits.
        let (mut missing, mut weighted, mut squared) = (0.0, 0.0, 0.0);
        for &(x, density) in &grid {
            let w = (sigma * x).exp();
            let tw = t * w;
            missing -= density * (-tw).exp_m1();
            let weight = density * tw * (-tw).exp();
            weighted += weight * sigma * x;
            squared += weight * tw;
        }
        let log_others = (-missing.min(1.0)).ln_1p();
        let others = ((n - 1.0) * log_others).exp();
        log_sum += du * ((-t).exp() - others * (1.0 - missing));
        score += du * n * weighted * others;
        squares += du * n * squared * others;
    }
    (log_sum - score, squares)
}

#[cfg(test)]
mod tests {
    use super::softmax_of_normal;

    #[test]
    fn two_logits_agree_with_a_plain_sum_over_their_difference() {
        // p = sigmoid(d), d ~ N(0, 2σ²).
        let sigma = 1.7f64;
        let (mut entropy, mut squares, mut total) = (0.0, 0.0, 0.0);
        for i in -4000..=4000 {
            let x = f64::from(i) / 400.0;
            let (density, d) = ((-x * x / 2.0).exp(), 2f64.sqrt() * sigma * x);
            let (p, q) = (1.0 / (1.0 + (-d).exp()), 1.0 / (1.0 + d.exp()));
            entropy -= density * (p * p.ln() + q * q.ln());
            squares += density * (p * p + q * q);
            total += density;
        }
        let (h, s) = softmax_of_normal(2.0, sigma);
        assert!((h - entropy / total).abs() < 1e-6, "{h} and {}", entropy / total);
        assert!((s - squares / total).abs() < 1e-6, "{s} and {}", squares / total);
    }
}
