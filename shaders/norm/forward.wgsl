// norm   y = (x − μ)·r·γ + β,  r = 1/√(σ² + ε),  over a row; not CENTRED: y = x·r·γ,  r = 1/√(mean x² + ε)
// Reference  src/ops/norm/mod.rs
// Layout     x, y: f32 [outer, groups, per_group, inner], dense, a row being what the last two axes span;
//            gamma, beta: f32 [groups, per_group]; saved: f32 [2, rows], δ before r. X holds four terms
//            where all four are there and, unless PER_TERM, of one channel
// Bindings   0 params uniform · 1 x read · 2 gamma read · 3 beta read, not CENTRED: not looked at
//            4 y read_write · 5 saved read_write
// Mapping    LANES invocations share a row; groups beyond the device's limit fold into grid y
// Tiles      ROOT, 8 or 16: a workgroup has ROOT² invocations; LANES, 1, ROOT or ROOT²; PER_TERM where gamma
//            has an entry for each term; workgroup memory 4·(2·ROOT² + ROOT) bytes
// Numerics   f32, two passes. Everything is a difference from the row's first element k, and μ = k + δ, so a
//            mean far larger than the deviation costs no accuracy
// Barriers   every lane reaches each one, lanes of rows beyond the end included

const ROOT: u32 = 8u;
const LANES: u32 = 64u;
const CENTRED: bool = true;
const PER_TERM: bool = false;
const WIDTH: u32 = 4u; // terms in an X
const GROUP: u32 = ROOT * ROOT;

alias X = vec4<f32>; // or f32
alias Scale = f32; // or, where PER_TERM, X

struct Params {
    rows: u32,
    terms: u32, // of a row, in X
    groups: u32,
    per_group: u32,
    inner: u32, // in X
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read> gamma: array<Scale>;
@group(0) @binding(3) var<storage, read> beta: array<Scale>;
@group(0) @binding(4) var<storage, read_write> y: array<X>;
@group(0) @binding(5) var<storage, read_write> saved: array<f32>;

var<workgroup> lane_sums: array<f32, 2u * GROUP>;
var<workgroup> root_sums: array<f32, ROOT>;

fn sum_of(value: X) -> f32 {
    let four = vec4<f32>(value);
    if WIDTH == 1u {
        return four.x;
    }
    return (four.x + four.y) + (four.z + four.w);
}

fn sum_from(start: u32) -> f32 {
    var sum = lane_sums[start];
    for (var k = 1u; k < ROOT; k++) {
        sum += lane_sums[start + k];
    }
    return sum;
}

// The sum of what a row's lanes hold, for all of them. `place`, 0 or GROUP, is a place of its own for each
// call, so that no call waits for readers of the one before. ROOT sums at a time instead of two: a barrier
// costs more than a few additions.
fn sum_lanes(local: u32, place: u32, value: f32) -> f32 {
    if LANES == 1u {
        return value;
    }
    lane_sums[place + local] = value;
    workgroupBarrier();
    if LANES == ROOT {
        return sum_from(place + local / ROOT * ROOT);
    }
    if local < ROOT {
        root_sums[local] = sum_from(place + local * ROOT);
    }
    workgroupBarrier();
    var total = root_sums[0];
    for (var k = 1u; k < ROOT; k++) {
        total += root_sums[k];
    }
    return total;
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * (GROUP / LANES) + local / LANES;
    let lane = local % LANES;
    // Lanes beyond the last row have no terms, but keep the others company at the barriers.
    let terms = select(0u, params.terms, index < params.rows);
    let row = min(index, params.rows - 1u);
    let base = row * params.terms;
    let count = f32(params.terms * WIDTH);

    var k = 0.0;
    var delta = 0.0;
    if CENTRED {
        k = vec4<f32>(x[base]).x;
        var differences = X();
        for (var term = lane; term < terms; term += LANES) {
            differences += x[base + term] - k;
        }
        delta = sum_lanes(local, 0u, sum_of(differences)) / count;
    }
    var squares = X();
    for (var term = lane; term < terms; term += LANES) {
        let centred = x[base + term] - k - delta;
        squares += centred * centred;
    }
    let rstd = inverseSqrt(sum_lanes(local, GROUP, sum_of(squares)) / count + params.eps);

    let first_channel = row % params.groups * params.per_group;
    for (var term = lane; term < terms; term += LANES) {
        var channel = term;
        if !PER_TERM {
            channel = first_channel + term / params.inner;
        }
        let scaled = (x[base + term] - k - delta) * rstd * X(gamma[channel]);
        if CENTRED {
            y[base + term] = scaled + X(beta[channel]);
        } else {
            y[base + term] = scaled;
        }
    }
    if lane == 0u && index < params.rows {
        saved[row] = delta;
        saved[params.rows + row] = rstd;
    }
}
