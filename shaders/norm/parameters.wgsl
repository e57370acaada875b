// norm_parameters   dβ = Σ dy,  dγ = Σ dy·x̂,  x̂ = (x − k − δ)·r, over all terms of a channel
// Reference  src/ops/norm/backward.rs
// Layout     x, dy: f32 [outer, groups, per_group, inner], dense; saved: f32 [2, outer·groups], δ before r, as
//            forward.wgsl left it; dgamma, dbeta: f32 [chunks, groups·per_group], to be added up
// Bindings   0 params uniform · 1 x read · 2 dy read · 3 saved read · 4 dgamma read_write · 5 dbeta read_write
// Mapping    LANES invocations share a chunk of a channel, neighbours having neighbouring channels; groups
//            beyond the device's limit fold into grid y
// Tiles      LANES, 1 or a workgroup's 64 invocations; workgroup memory 576 bytes
// Numerics   f32; k is the row's first element, as in the forward pass, or zero where not CENTRED
// Barriers   every lane reaches each one, lanes of chunks beyond the end included

const LANES: u32 = 64u;
const CENTRED: bool = true;
const GROUP: u32 = 64u;
const ROOT: u32 = 8u;

struct Params {
    channels: u32,
    groups: u32,
    per_group: u32,
    inner: u32,
    terms: u32, // of a channel
    chunk: u32, // terms of a chunk
    chunks: u32,
    outer_step: u32, // LANES / inner
    inner_step: u32, // LANES % inner
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read> saved: array<f32>;
@group(0) @binding(4) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(5) var<storage, read_write> dbeta: array<f32>;

var<workgroup> lane_sums: array<vec2<f32>, GROUP>;
var<workgroup> root_sums: array<vec2<f32>, ROOT>;

// The sums over the lanes, for the first of them.
fn sum_lanes(local: u32, value: vec2<f32>) -> vec2<f32> {
    if LANES == 1u {
        return value;
    }
    lane_sums[local] = value;
    workgroupBarrier();
    if local < ROOT {
        var sum = lane_sums[local];
        for (var lane = local + ROOT; lane < GROUP; lane += ROOT) {
            sum += lane_sums[lane];
        }
        root_sums[local] = sum;
    }
    workgroupBarrier();
    var total = value;
    if local == 0u {
        total = root_sums[0];
        for (var k = 1u; k < ROOT; k++) {
            total += root_sums[k];
        }
    }
    return total;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * (GROUP / LANES) + local / LANES;
    let lane = local % LANES;
    let channel = index % params.channels;
    let start = index / params.channels * params.chunk;
    // A chunk beyond the last ends before it begins.
    let end = min(start + params.chunk, params.terms);
    let row_terms = params.per_group * params.inner;
    let rows = params.terms / params.inner * params.groups;

    var sums = vec2(0.0, 0.0);
    // Term t is the element (t / inner, channel, t % inner). Steps save divisions and products, and what they need is
    // read from the parameters once: a CPU's driver reads them at each turn.
    let inner = params.inner;
    let inner_step = params.inner_step;
    let step = params.outer_step * params.channels * inner + inner_step;
    let next_outer = (params.channels - 1u) * inner;
    let row_step = params.outer_step * params.groups;
    let next_row = params.groups;
    let outer = (start + lane) / inner;
    var within = (start + lane) % inner;
    var at = (outer * params.channels + channel) * inner + within;
    var row = outer * params.groups + channel / params.per_group;
    for (var term = start + lane; term < end; term += LANES) {
        var k = 0.0;
        if CENTRED {
            k = x[row * row_terms];
        }
        sums += vec2(dy[at] * ((x[at] - k - saved[row]) * saved[rows + row]), dy[at]);
        within += inner_step;
        at += step;
        row += row_step;
        if within >= inner {
            within -= inner;
            at += next_outer;
            row += next_row;
        }
    }
    sums = sum_lanes(local, sums);
    if lane == 0u && index < params.channels * params.chunks {
        dgamma[index] = sums.x;
        dbeta[index] = sums.y;
    }
}
