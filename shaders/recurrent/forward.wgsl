// forward   one step of a recurrent layer for all sequences of a batch: h·W, the gates and the new state
//           tanh, relu   h′ = f(x + h·W + b)
//           LSTM         c′ = f·c + i·g, h′ = o·tanh c′, with i, f, o = σ(x + h·W + b), g = tanh(x + h·W + b)
//           GRU          h′ = n + z·(h − n), with r, z = σ(x + h·W + b), n = tanh(x + r·q), q = h·W + b
// Reference  src/ops/recurrent/cell.rs
// Layout     x: f32 [T, B, GATES·H], projected inputs; w: f32 [H, GATES·H]; bias: f32 [GATES·H]; gates in the
//            order i, f, g, o or r, z, n; lengths: i32 [B]; states: f32 [1 or 2, T + 1, B, H], h and, for an
//            LSTM, c; saved: f32 [T, B, SAVED·H], what the gradient reads: i, f, g, o, tanh c′ or r, z, n, q
// Bindings   0 params uniform · 1 x read · 2 w read · 3 bias read · 4 lengths read · 5 states · 6 saved
//            read_write
// Mapping    an invocation computes ROWS sequences × 4 columns of h·W: all gates of one hidden unit, or, where
//            there is one gate, 4 units LANES apart; workgroup = LANES of them; groups fold into grid y
// Tiles      ROWS 1, 4 or 8, four sums each in registers; no workgroup memory
// Numerics   f32; each sum is in order of k. tanh is that of lib/special.wgsl, word for word
// Barriers   none. A launch reads one slot of states and writes another

const CELL: u32 = 2u; // 0 tanh, 1 relu, 2 LSTM, 3 GRU
const GATES: u32 = 4u; // 1, 1, 4, 3
const SAVED: u32 = 5u; // 0, 0, 5, 4
const UNITS: u32 = 1u; // hidden units of an invocation: 4, 4, 1, 1
const LENGTHS: bool = false;
const ROWS: u32 = 8u;
const LANES: u32 = 32u;

struct Params {
    batch: u32,
    hidden: u32,
    tiles: u32, // workgroups that have work
    time: u32,
    before: u32, // where in states the old h begins
    after: u32, // and the new one
    cells: u32, // from an h to its c
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> lengths: array<i32>;
@group(0) @binding(5) var<storage, read_write> states: array<f32>;
@group(0) @binding(6) var<storage, read_write> saved: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = group.y * groups.x + group.x;
    if tile >= params.tiles {
        return;
    }
    let hidden = params.hidden;
    let tiles_h = (hidden + UNITS * LANES - 1u) / (UNITS * LANES);
    let b = tile / tiles_h * ROWS;
    let j = tile % tiles_h * (UNITS * LANES) + local;
    // Rows and columns beyond the edge repeat the last one and are not stored.
    var apart = hidden;
    if UNITS == 4u {
        apart = LANES;
    }
    var at = min(vec4(j) + apart * vec4(0u, 1u, 2u, 3u), vec4(GATES * hidden - 1u));
    let last = vec4(params.batch - 1u);
    var low = params.before + hidden * min(vec4(b) + vec4(0u, 1u, 2u, 3u), last);
    var high = params.before + hidden * min(vec4(b) + vec4(4u, 5u, 6u, 7u), last);
    var sum0 = vec4<f32>();
    var sum1 = vec4<f32>();
    var sum2 = vec4<f32>();
    var sum3 = vec4<f32>();
    var sum4 = vec4<f32>();
    var sum5 = vec4<f32>();
    var sum6 = vec4<f32>();
    var sum7 = vec4<f32>();
    for (var k = 0u; k < hidden; k++) {
        var weight = vec4(w[at.x], w[at.y], w[at.z], 0.0);
        if GATES != 3u {
            weight.w = w[at.w];
        }
        sum0 += states[low.x] * weight;
        if ROWS > 1u {
            sum1 += states[low.y] * weight;
            sum2 += states[low.z] * weight;
            sum3 += states[low.w] * weight;
        }
        if ROWS > 4u {
            sum4 += states[high.x] * weight;
            sum5 += states[high.y] * weight;
            sum6 += states[high.z] * weight;
            sum7 += states[high.w] * weight;
        }
        at += GATES * hidden;
        low += 1u;
        high += 1u;
    }
    // Loops whose ends no compiler knows are not unrolled, so that their body is compiled once; where the parameters
    // said it, llvmpipe's driver might compile the kernel anew at each launch. What is next moves to the front, where an
    // array would be in memory.
    for (var r = 0u; r < ROWS + (local >> 31u); r++) {
        if b + r < params.batch {
            var first = sum0;
            for (var c = 0u; c < UNITS && j + LANES * c < hidden; c++) {
                unit(b + r, j + LANES * c, select(vec4(first.x), first, UNITS == 1u));
                first = first.yzww;
            }
        }
        sum0 = sum1;
        sum1 = sum2;
        sum2 = sum3;
        sum3 = sum4;
        sum4 = sum5;
        sum5 = sum6;
        sum6 = sum7;
    }
}

// One hidden unit of one sequence, from h·W of its gates.
fn unit(b: u32, j: u32, sums: vec4<f32>) {
    let hidden = params.hidden;
    let here = b * hidden + j;
    let old = params.before + here;
    let new_h = params.after + here;
    if LENGTHS {
        if i32(params.time) >= lengths[b] {
            // The sequence has ended, or not yet begun: the state stays.
            states[new_h] = states[old];
            if CELL == 2u {
                states[params.cells + new_h] = states[params.cells + old];
            }
            return;
        }
    }
    let step = params.time * params.batch + b;
    let source = step * (GATES * hidden) + j;
    let to = step * (SAVED * hidden) + j;
    let first = sums.x + bias[j] + x[source];
    if CELL == 0u {
        states[new_h] = gradus_tanh(first);
    } else if CELL == 1u {
        states[new_h] = max(first, 0.0);
    } else if CELL == 2u {
        let i = sigmoid(first);
        let f = sigmoid(sums.y + bias[hidden + j] + x[source + hidden]);
        let g = gradus_tanh(sums.z + bias[2u * hidden + j] + x[source + 2u * hidden]);
        let o = sigmoid(sums.w + bias[3u * hidden + j] + x[source + 3u * hidden]);
        let c = f * states[params.cells + old] + i * g;
        let t = gradus_tanh(c);
        states[params.cells + new_h] = c;
        states[new_h] = o * t;
        saved[to] = i;
        saved[to + hidden] = f;
        saved[to + 2u * hidden] = g;
        saved[to + 3u * hidden] = o;
        saved[to + 4u * hidden] = t;
    } else {
        let r = sigmoid(first);
        let z = sigmoid(sums.y + bias[hidden + j] + x[source + hidden]);
        let q = sums.z + bias[2u * hidden + j];
        let n = gradus_tanh(x[source + 2u * hidden] + r * q);
        states[new_h] = n + z * (states[old] - n);
        saved[to] = r;
        saved[to + hidden] = z;
        saved[to + 2u * hidden] = n;
        saved[to + 3u * hidden] = q;
    }
}

// e = exp(−|v|) is at most one; for v < 0 the identity σ(v) = e/(1 + e) avoids 1 − y.
fn sigmoid(v: f32) -> f32 {
    let e = exp(-abs(v));
    return select(1.0, e, v < 0.0) / (1.0 + e);
}

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
