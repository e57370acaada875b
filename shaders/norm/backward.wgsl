// norm_backward   dx = r·(g − mean g − x̂·mean(g·x̂)),  g = γ·dy,  x̂ = (x − k − δ)·r;
//                 not CENTRED: dx = r·(g − x̂·mean(g·x̂)),  x̂ = x·r
// Reference  src/ops/norm/backward.rs
// Layout     x, dy, dx: f32 [outer, groups, per_group, inner], dense, a row being what the last two axes span;
//            gamma: f32 [groups, per_group]; saved: f32 [2, rows], δ before r, as forward.wgsl left it
// Bindings   0 params uniform · 1 x read · 2 gamma read · 3 dy read · 4 saved read · 5 dx read_write
// Mapping    as forward.wgsl
// Tiles      ROOT, LANES, PER_TERM and X as in forward.wgsl; workgroup memory 8·(ROOT² + ROOT) bytes
// Numerics   f32; k is the row's first element, as in the forward pass
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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read> gamma: array<Scale>;
@group(0) @binding(3) var<storage, read> dy: array<X>;
@group(0) @binding(4) var<storage, read> saved: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<X>;

var<workgroup> lane_sums: array<vec2<f32>, GROUP>;
var<workgroup> root_sums: array<vec2<f32>, ROOT>;

fn sum_of(value: X) -> f32 {
    let four = vec4<f32>(value);
    if WIDTH == 1u {
        return four.x;
    }
    return (four.x + four.y) + (four.z + four.w);
}

fn sum_from(start: u32) -> vec2<f32> {
    var sum = lane_sums[start];
    for (var k = 1u; k < ROOT; k++) {
        sum += lane_sums[start + k];
    }
    return sum;
}

// The sums of what a row's lanes hold, for all of them; see forward.wgsl.
fn sum_lanes(local: u32, value: vec2<f32>) -> vec2<f32> {
    if LANES == 1u {
        return value;
    }
    lane_sums[local] = value;
    workgroupBarrier();
    if LANES == ROOT {
        return sum_from(local / ROOT * ROOT);
    }
    if local < ROOT {
        root_sums[local] = sum_from(local * ROOT);
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
    let first_channel = row % params.groups * params.per_group;
    let delta = saved[row];
    let rstd = saved[params.rows + row];

    var k = 0.0;
    if CENTRED {
        k = vec4<f32>(x[base]).x;
    }
    var constant = X();
    var along = X();
    for (var term = lane; term < terms; term += LANES) {
        var channel = term;
        if !PER_TERM {
            channel = first_channel + term / params.inner;
        }
        let g = X(gamma[channel]) * dy[base + term];
        constant += g;
        along += g * ((x[base + term] - k - delta) * rstd);
    }
    let means = sum_lanes(local, vec2(sum_of(constant), sum_of(along))) / f32(params.terms * WIDTH);

    for (var term = lane; term < terms; term += LANES) {
        var channel = term;
        if !PER_TERM {
            channel = first_channel + term / params.inner;
        }
        let standard = (x[base + term] - k - delta) * rstd;
        var g = X(gamma[channel]) * dy[base + term];
        if CENTRED {
            g -= means.x;
        }
        dx[base + term] = rstd * (g - standard * means.y);
    }
}
