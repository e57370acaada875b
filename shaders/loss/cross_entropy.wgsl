// cross_entropy   loss[r] = ln Σj exp(x[r, j] − m[r]) − (x[r, label[r]] − m[r]),  m[r] = maxj x[r, j]
// Reference  src/ops/loss/cross_entropy.rs
// Layout     x: f32 [rows, terms], where terms are a multiple of four X holds four; labels: i32 [rows], of 0..terms;
//            loss, largest (m) and spread (the logarithm): f32 [rows]; all dense
// Bindings   0 params uniform · 1 x read · 2 labels read · 3 loss · 4 largest · 5 spread read_write
// Mapping    LANES invocations share a row; groups beyond the device's limit fold into grid y
// Tiles      LANES, 1, 8 or 64: a workgroup's 64 invocations work on 64, 8 or one row
// Numerics   f32; subtracting m makes the largest exponent zero, so no exp overflows and Σ is at least one;
//            m starts at the row's first element, so no constant stands for minus infinity
// Barriers   every lane reaches each one, lanes of rows beyond the end included

const LANES: u32 = 64u;
const WIDTH: u32 = 4u; // terms in an X
const GROUP: u32 = 64u;

alias X = vec4<f32>; // or f32

struct Params {
    rows: u32,
    terms: u32, // of a row, in X
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read> labels: array<i32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> largest: array<f32>;
@group(0) @binding(5) var<storage, read_write> spread: array<f32>;

// Each lane's maximum, each lane's sum, and eight of whichever is being combined.
var<workgroup> partial: array<f32, 136>;

fn sum_of(value: X) -> f32 {
    let four = vec4<f32>(value);
    if WIDTH == 1u {
        return four.x;
    }
    return (four.x + four.y) + (four.z + four.w);
}

fn combine_eight(start: u32, maximum: bool) -> f32 {
    var all = partial[start];
    for (var k = 1u; k < 8u; k++) {
        let other = partial[start + k];
        all = select(all + other, max(all, other), maximum);
    }
    return all;
}

// The maximum or the sum of what a row's lanes hold, for all of them. Eight by eight instead of in halves:
// a barrier costs more than a few additions, on a software adapter by far.
fn combine_lanes(local: u32, value: f32, maximum: bool) -> f32 {
    if LANES == 1u {
        return value;
    }
    // A place of its own for either, so that neither call waits for readers of the other.
    let place = select(GROUP, 0u, maximum);
    partial[place + local] = value;
    workgroupBarrier();
    if LANES == 8u {
        return combine_eight(place + local / 8u * 8u, maximum);
    }
    if local < 8u {
        partial[2u * GROUP + local] = combine_eight(place + local * 8u, maximum);
    }
    workgroupBarrier();
    return combine_eight(2u * GROUP, maximum);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = (group.y * groups.x + group.x) * (GROUP / LANES) + local / LANES;
    let lane = local % LANES;
    // Lanes beyond the last row have no terms, but keep the others company at the barriers.
    let terms = select(0u, params.terms, row < params.rows);
    let base = min(row, params.rows - 1u) * params.terms;

    var maxima = x[base];
    for (var term = lane; term < terms; term += LANES) {
        maxima = max(maxima, x[base + term]);
    }
    let four = vec4<f32>(maxima);
    let m = combine_lanes(local, max(max(four.x, four.y), max(four.z, four.w)), true);

    var sums = X();
    for (var term = lane; term < terms; term += LANES) {
        sums += exp(x[base + term] - m);
    }
    let total = combine_lanes(local, sum_of(sums), false);

    if lane != 0u || row >= params.rows {
        return;
    }
    let label = u32(labels[row]);
    let own = vec4<f32>(x[base + label / WIDTH]);
    let rest = log(total);
    loss[row] = rest - (own[label % WIDTH] - m);
    largest[row] = m;
    spread[row] = rest;
}
