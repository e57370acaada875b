// special   tanh(x) and erf(x), from exp and polynomials
//
// Why        WGSL has no erf, and grants its tanh an error of 1e-5. These stay within 5 and 4 ULP of the
//            true value for every finite x, near zero too, on any conforming implementation.
// Reference  Bounded::tanh and Bounded::erf in src/real/bounded.rs carry the bound (TANH_ULPS, ERF_ULPS)
// Check      src/real/tests/special.rs reads the constants below from this file and re-derives both bounds
// Fits       weighted minimax (Lawson's iteration, 600 Chebyshev nodes, mpmath to 40 digits), the weight
//            making the error relative to the function; coefficients were rounded to f32 one at a time,
//            lowest order first, the rest fitted anew each time. Largest error of the fit, relative to
//            the function, with the rounded coefficients, in units of 2^-23:
//              tanh, |x| < 1       0.04       erf, |x| < 1       0.012
//              tanh, |x| > 10      0.04       erf, 1 ≤ |x| ≤ 4   0.01       erf, |x| > 4   0.13
// Literals   hexadecimal, because WGSL may round a decimal literal to either neighbour
// Range      exp only ever sees a number in [-20, 0): nothing overflows, however large x. A NaN fails every
//            comparison, reaches exp and comes out again where the implementation keeps NaNs at all.
// Use        functions only: no bindings, no entry point, no module-scope constants to collide with

// Below 1: x + x·z·p(z) with z = x², which is exact to first order, so small x keep their relative accuracy.
// From 1 on: 1 − 2t/(1 + t) with t = exp(−2|x|), whose last rounding is all that is left as t vanishes.
fn gradus_tanh(x: f32) -> f32 {
    const TANH_0: f32 = -0x1.55553cp-2;
    const TANH_1: f32 = 0x1.110be4p-3;
    const TANH_2: f32 = -0x1.b9623ap-5;
    const TANH_3: f32 = 0x1.6009a4p-6;
    const TANH_4: f32 = -0x1.045fe0p-7;
    const TANH_5: f32 = 0x1.2d9fa4p-9;
    const TANH_6: f32 = -0x1.77cb82p-12;
    let a = abs(x);
    if (a < 1.0) {
        let z = x * x;
        let tail = TANH_3 + z * (TANH_4 + z * (TANH_5 + z * TANH_6));
        let p = TANH_0 + z * (TANH_1 + z * (TANH_2 + z * tail));
        return x + x * (z * p);
    }
    if (a > 10.0) {
        // 1 − tanh(10) is 4.1e-9, a fourteenth of the distance to the next f32.
        return select(1.0, -1.0, x < 0.0);
    }
    let t = exp(-2.0 * a);
    let r = 1.0 - (2.0 * t) / (1.0 + t);
    return select(r, -r, x < 0.0);
}

// Below 1: x + x·p(z) with z = x²; p(0) = 2/√π − 1, so the product is small beside x and its rounding too.
// From 1 on: 1 − exp(−q(a)) with q fitted to −ln erfc(a): one exp, no division, and erf ≥ 0.84 there, so
// the error that exp brings (its value is at most 0.16) weighs little.
fn gradus_erf(x: f32) -> f32 {
    const ERF_0: f32 = 0x1.06eba8p-3;
    const ERF_1: f32 = -0x1.81273ep-2;
    const ERF_2: f32 = 0x1.ce2ce6p-4;
    const ERF_3: f32 = -0x1.b7f71ap-6;
    const ERF_4: f32 = 0x1.53f224p-8;
    const ERF_5: f32 = -0x1.a3515ep-11;
    const ERF_6: f32 = 0x1.4771fcp-14;
    const ERFC_0: f32 = 0x1.661ce8p-12;
    const ERFC_1: f32 = 0x1.2088eap+0;
    const ERFC_2: f32 = 0x1.46baf0p-1;
    const ERFC_3: f32 = 0x1.a6531ep-4;
    const ERFC_4: f32 = -0x1.65cb36p-6;
    const ERFC_5: f32 = 0x1.825ab0p-9;
    const ERFC_6: f32 = -0x1.86ddc6p-13;
    let a = abs(x);
    if (a < 1.0) {
        let z = x * x;
        let p = ERF_0 + z * (ERF_1 + z * (ERF_2 + z * (ERF_3 + z * (ERF_4 + z * (ERF_5 + z * ERF_6)))));
        return x + x * p;
    }
    if (a > 4.0) {
        // erfc(4) is 1.5e-8, a quarter of the distance to the next f32.
        return select(1.0, -1.0, x < 0.0);
    }
    let q = ERFC_0 + a * (ERFC_1 + a * (ERFC_2 + a * (ERFC_3 + a * (ERFC_4 + a * (ERFC_5 + a * ERFC_6)))));
    let r = 1.0 - exp(-q);
    return select(r, -r, x < 0.0);
}
