// batch_norm_backward   dβ = Σ dy,  dγ = Σ dy·x̂,  dx = γ·r·(dy − dβ/n − x̂·dγ/n),  x̂ = (x − k − δ)·r
// Reference  src/ops/batch_norm/backward.rs
// Layout     x, dy, dx: f32 [outer, channels, inner], dense; gamma, dgamma, dbeta: f32 [channels];
//            saved: f32 [2, channels], δ before r, as forward.wgsl left it; partials: [channels, chunks] of
//            (Σ dy, Σ dy·x̂). X as in forward.wgsl
// Bindings   0 params uniform · 1 x read · 2 gamma read · 3 dy read · 4 saved read
//            5 partials · 6 dx · 7 dgamma · 8 dbeta read_write
// Mapping    as forward.wgsl. STAGE 0 sums, STAGE 1 writes: two launches, or STAGE 2, both in one, where a
//            channel is one chunk
// Tiles      LANES, ROOT or ROOT², ROOT being 8 or 16; workgroup memory 8·(LANES + ROOT) bytes
// Numerics   f32; k is the channel's first element, as in the forward pass
// Barriers   every lane of a group reaches each one; a group beyond the end leaves as a whole

const ROOT: u32 = 8u;
const STAGE: u32 = 2u;
const LANES: u32 = 64u;
const WIDTH: u32 = 4u; // terms in an X

alias X = vec4<f32>; // or f32

struct Params {
    channels: u32,
    inner: u32, // in X, as the next two
    terms: u32, // of a channel
    chunk: u32, // terms of a chunk
    chunks: u32,
    outer_step: u32, // LANES / inner
    inner_step: u32, // LANES % inner
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<X>;
@group(0) @binding(4) var<storage, read> saved: array<f32>;
@group(0) @binding(5) var<storage, read_write> partials: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> dx: array<X>;
@group(0) @binding(7) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(8) var<storage, read_write> dbeta: array<f32>;

var<workgroup> lane_sums: array<vec2<f32>, LANES>;
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

// The sums over the lanes, for all of them; see forward.wgsl.
fn sum_lanes(local: u32, value: vec2<f32>) -> vec2<f32> {
    lane_sums[local] = value;
    workgroupBarrier();
    if LANES == ROOT {
        return sum_from(0u);
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

// Where a lane begins in its chunk, and what it needs to know there.
struct Part {
    channel: u32,
    term: u32,
    end: u32,
    k: f32,
    delta: f32,
    rstd: f32,
    scale: f32, // γ·r
}

// One stage over the lane's terms, the second with the means of dy and of dy·x̂; the first returns their sums.
fn sweep(stage: u32, part: Part, means: vec2<f32>) -> vec2<f32> {
    var constant = X();
    var along = X();
    // Term t is the element (t / inner, channel, t % inner); steps as in forward.wgsl.
    let inner = params.inner;
    let inner_step = params.inner_step;
    let step = params.outer_step * params.channels * inner + inner_step;
    let next_row = (params.channels - 1u) * inner;
    let outer = part.term / inner;
    var within = part.term % inner;
    var at = (outer * params.channels + part.channel) * inner + within;
    for (var term = part.term; term < part.end; term += LANES) {
        let standard = (x[at] - part.k - part.delta) * part.rstd;
        if stage == 0u {
            let slope = dy[at];
            constant += slope;
            along += slope * standard;
        } else {
            dx[at] = part.scale * (dy[at] - means.x - standard * means.y);
        }
        within += inner_step;
        at += step;
        if within >= inner {
            within -= inner;
            at += next_row;
        }
    }
    return vec2(sum_of(constant), sum_of(along));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let channel = group.y * groups.x + group.x;
    if channel >= params.channels {
        return;
    }
    let first_chunk = channel * params.chunks;
    let start = group.z * params.chunk;
    let end = min(start + params.chunk, params.terms);
    let k = vec4<f32>(x[channel * params.inner]).x;
    let rstd = saved[params.channels + channel];
    let part = Part(channel, start + local, end, k, saved[channel], rstd, gamma[channel] * rstd);

    var sums = vec2(0.0, 0.0);
    if STAGE != 1u {
        sums = sweep(0u, part, sums);
    } else if local < params.chunks {
        // There are no more chunks than lanes.
        sums = partials[first_chunk + local];
    }
    sums = sum_lanes(local, sums);
    if STAGE == 0u {
        if local == 0u {
            partials[first_chunk + group.z] = sums;
        }
    } else {
        _ = sweep(1u, part, sums / f32(params.terms * WIDTH));
        if local == 0u && group.z == 0u {
            dbeta[channel] = sums.x;
            dgamma[channel] = sums.y;
        }
    }
}
