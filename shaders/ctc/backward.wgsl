// ctc_occupancy   y[t, n, s] = e^(α[t, n, s] + β[t, n, s] − z[n]), zero from T[n] on, with
//                 β[t, n, s] = ln(e^q[s] + e^q[s + 1] + e^q[s + 2], where allowed), q = β[t + 1, n] + p[t + 1, n],
//                 and β[T[n] − 1, n, s] = 0 where s is 2S[n] or 2S[n] − 1
// Reference  src/ops/loss/ctc/fused.rs
// Layout     p, alpha, y: f32 [times, examples, states], dense; codes, ends and z as in forward.wgsl;
//            beta: f32 [2, examples, states], of even and of odd times
// Bindings   0 params uniform · 1 p read · 2 codes read · 3 ends read · 4 alpha read · 5 z read
//            6 beta read_write · 7 y read_write
// Mapping    workgroup = example; lanes stride the states, step by step against time
// Numerics   as forward.wgsl; an example that nothing can spell has z about −2¹⁰⁰, and zeros
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
@group(0) @binding(4) var<storage, read> alpha: array<f32>;
@group(0) @binding(5) var<storage, read> z: array<f32>;
@group(0) @binding(6) var<storage, read_write> beta: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

// ln(e^a + e^b + e^c).
fn join(a: f32, b: f32, c: f32) -> f32 {
    let m = max(max(a, b), c);
    return m + log(exp(a - m) + exp(b - m) + exp(c - m));
}

// Where β of a time and an example begins.
fn place(time: u32, example: u32) -> u32 {
    return (time % 2u * params.examples + example) * params.states;
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
    let times = u32(ends[example * 2u]);
    let last = u32(ends[example * 2u + 1u]) * 2u;
    let total = z[example];
    for (var back = 1u; back <= params.times; back++) {
        let time = params.times - back;
        let row = (time * params.examples + example) * params.states;
        let next = row + params.examples * params.states;
        let after = place(time + 1u, example);
        for (var state = local; state < params.states; state += GROUP) {
            var way = NEVER;
            if time + 1u < times {
                var one = NEVER;
                var two = NEVER;
                if state + 1u < params.states {
                    one = beta[after + state + 1u] + p[next + state + 1u];
                }
                if state + 2u < params.states {
                    let code = codes[example * params.states + state + 2u];
                    if floor(code) == code {
                        two = beta[after + state + 2u] + p[next + state + 2u];
                    }
                }
                way = join(beta[after + state] + p[next + state], one, two);
            } else if state == last || state + 1u == last {
                way = 0.0;
            }
            beta[place(time, example) + state] = way;
            var share = 0.0;
            if time < times && total > 0.5 * NEVER {
                share = exp(alpha[row + state] + way - total);
            }
            y[row + state] = share;
        }
        storageBarrier();
    }
}
