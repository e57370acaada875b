// softmax   y[r, c] = exp(x[r, c] − m[r]) / Σj exp(x[r, j] − m[r]),  m[r] = maxj x[r, j]
//           LOG: y[r, c] = (x[r, c] − m[r]) − ln Σj exp(x[r, j] − m[r])
// Reference  src/ops/softmax.rs
// Layout     x, y: f32 [outer, terms, inner], dense; row r = (outer, inner) strides by inner. Where inner is 1 and
//            terms a multiple of four, X holds four terms
// Bindings   0 params uniform · 1 x read · 2 y read_write
// Mapping    LANES invocations share a row; groups beyond the device's limit fold into grid y
// Tiles      LANES, 1, 8 or 64: a workgroup's 64 invocations work on 64, 8 or one row
// Numerics   f32; subtracting m makes the largest exponent zero, so no exp overflows and Σ is at least one;
//            m starts at the row's first element, so no constant stands for minus infinity
// Barriers   every lane reaches each one, lanes of rows beyond the end included

const LANES: u32 = 64u;
const LOG: bool = false;
const WIDTH: u32 = 4u; // terms in an X
const GROUP: u32 = 64u;

alias X = vec4<f32>; // or f32

struct Params {
    rows: u32,
    terms: u32, // of a row, in X
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read_write> y: array<X>;

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
    let index = (group.y * groups.x + group.x) * (GROUP / LANES) + local / LANES;
    let lane = local % LANES;
    // Lanes beyond the last row have no terms, but keep the others company at the barriers.
    let terms = select(0u, params.terms, index < params.rows);
    let row = min(index, params.rows - 1u);
    let base = row / params.inner * params.terms * params.inner + row % params.inner;
    let step = select(params.inner, 1u, WIDTH == 4u);

    var maxima = x[base];
    for (var term = lane; term < terms; term += LANES) {
        maxima = max(maxima, x[base + term * step]);
    }
    let four = vec4<f32>(maxima);
    let largest = combine_lanes(local, max(max(four.x, four.y), max(four.z, four.w)), true);

    var sums = X();
    for (var term = lane; term < terms; term += LANES) {
        sums += exp(x[base + term * step] - largest);
    }
    let total = combine_lanes(local, sum_of(sums), false);

    for (var term = lane; term < terms; term += LANES) {
        let at = base + term * step;
        let difference = x[at] - largest;
        if LOG {
            y[at] = difference - log(total);
        } else {
            y[at] = exp(difference) / total;
        }
    }
}
