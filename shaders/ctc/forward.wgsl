// ctc   α[t, n, s] = p[t, n, s] + ln(e^α[t − 1, n, s] + e^α[t − 1, n, s − 1] + e^α[t − 1, n, s − 2], where allowed);
//       z[n] = ln(e^α[T[n] − 1, n, 2S[n]] + e^α[T[n] − 1, n, 2S[n] − 1])
// Reference  src/ops/loss/ctc/fused.rs
// Layout     p, alpha: f32 [times, examples, states], dense; codes: f32 [examples, states], the first time at
//            which a state can be reached, and half a step more where it cannot be from two before;
//            ends: i32 [examples, 2], T and S; z: f32 [examples]
// Bindings   0 params uniform · 1 p read · 2 codes read · 3 ends read · 4 alpha read_write · 5 z read_write
// Mapping    workgroup = example; lanes stride the states, step by step in time
// Numerics   f32. What cannot be has the logarithm −2¹⁰⁰, whose exponential beside any other is zero; the largest
//            term is subtracted before exponentials are taken
// Barriers   every lane reaches each one: the number of steps is that of the longest example

const GROUP: u32 = 64u;
const NEVER: f32 = -0x1p100f;

struct Params {
    times: u32,
    examples: u32,
    states: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> codes: array<f32>;
@group(0) @binding(3) var<storage, read> ends: array<i32>;
@group(0) @binding(4) var<storage, read_write> alpha: array<f32>;
@group(0) @binding(5) var<storage, read_write> z: array<f32>;

// ln(e^a + e^b + e^c).
fn join(a: f32, b: f32, c: f32) -> f32 {
    let m = max(max(a, b), c);
    return m + log(exp(a - m) + exp(b - m) + exp(c - m));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let example = group.y * groups.x + group.x;
    if example >= params.examples {
        return;
    }
    let step = params.examples * params.states;
    for (var time = 0u; time < params.times; time++) {
        let row = time * step + example * params.states;
        for (var state = local; state < params.states; state += GROUP) {
            let code = codes[example * params.states + state];
            var way = NEVER;
            if code < f32(time) + 1.0 {
                way = p[row + state];
                if time > 0u {
                    let before = row - step + state;
                    var back = NEVER;
                    var skip = NEVER;
                    if state > 0u {
                        back = alpha[before - 1u];
                    }
                    // Never the first two states.
                    if floor(code) == code {
                        skip = alpha[before - 2u];
                    }
                    way += join(alpha[before], back, skip);
                }
            }
            alpha[row + state] = way;
        }
        storageBarrier();
    }
    if local == 0u {
        let last = (u32(ends[example * 2u]) - 1u) * step + example * params.states;
        let labels = u32(ends[example * 2u + 1u]);
        var label = NEVER;
        if labels > 0u {
            label = alpha[last + 2u * labels - 1u];
        }
        z[example] = join(alpha[last + 2u * labels], label, NEVER);
    }
}
