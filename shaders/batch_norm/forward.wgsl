// batch_norm   y = (x − μ)·r·γ + β,  r = 1/√(σ² + ε);  μ and σ² over a channel, all axes but the second
// Reference  src/ops/batch_norm/mod.rs
// Layout     x, y: f32 [outer, channels, inner], dense; gamma, beta, mean, variance: f32 [channels];
//            saved: f32 [2, channels], δ before r; partials: f32 [2, channels, chunks].
//            X holds four terms where inner is a multiple of four
// Bindings   0 params uniform · 1 x read · 2 gamma read · 3 beta read
//            4 partials · 5 y · 6 mean · 7 variance · 8 saved read_write
// Mapping    workgroup = one channel, folded over grid x and y, and one of its chunks, grid z; lanes stride
//            the chunk's terms. STAGE 0 sums x − k, STAGE 1 the squares of x − k − δ, STAGE 2 writes:
//            three launches, or STAGE 3, all in one, where a channel is one chunk
// Tiles      LANES, ROOT or ROOT², ROOT being 8 or 16; workgroup memory 4·(2·LANES + ROOT) bytes
// Numerics   f32. Everything is a difference from the channel's first element k, and μ = k + δ, so a mean
//            far larger than the deviation costs no accuracy
// Barriers   every lane of a group reaches each one; a group beyond the end leaves as a whole

const ROOT: u32 = 8u;
const STAGE: u32 = 3u;
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
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read_write> partials: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<X>;
@group(0) @binding(6) var<storage, read_write> mean: array<f32>;
@group(0) @binding(7) var<storage, read_write> variance: array<f32>;
@group(0) @binding(8) var<storage, read_write> saved: array<f32>;

var<workgroup> lane_sums: array<f32, 2u * LANES>;
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

// The sum over the lanes, for all of them: ROOT lanes add ROOT sums each, then every lane adds those. Two
// barriers instead of one for each halving; a barrier costs more than a few additions. `place`, 0 or LANES, is a
// place of its own for each call, so that no call waits for readers of the one before.
fn sum_lanes(local: u32, place: u32, value: f32) -> f32 {
    lane_sums[place + local] = value;
    workgroupBarrier();
    if LANES == ROOT {
        return sum_from(place);
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

// What the chunks of a channel left in the partials from `start` on, over the number of terms. There are no
// more chunks than lanes.
fn mean_of_chunks(local: u32, place: u32, start: u32) -> f32 {
    var sum = 0.0;
    if local < params.chunks {
        sum = partials[start + local];
    }
    return sum_lanes(local, place, sum) / f32(params.terms * WIDTH);
}

// Where a lane begins in its chunk, and what it needs to know there.
struct Part {
    channel: u32,
    term: u32,
    end: u32,
    k: f32,
    gamma: f32,
    beta: f32,
}

// One stage over the lane's terms; returns what it has added up.
fn sweep(stage: u32, part: Part, delta: f32, scale: f32) -> f32 {
    var sum = X();
    // Term t is the element (t / inner, channel, t % inner). Steps save divisions and products, and what they need is
    // read from the parameters once: a CPU's driver reads them at each turn.
    let inner = params.inner;
    let inner_step = params.inner_step;
    let step = params.outer_step * params.channels * inner + inner_step;
    let next_row = (params.channels - 1u) * inner;
    let outer = part.term / inner;
    var within = part.term % inner;
    var at = (outer * params.channels + part.channel) * inner + within;
    for (var term = part.term; term < part.end; term += LANES) {
        let centred = x[at] - part.k - delta;
        if stage == 0u {
            sum += centred;
        } else if stage == 1u {
            sum += centred * centred;
        } else {
            y[at] = centred * scale * part.gamma + part.beta;
        }
        within += inner_step;
        at += step;
        if within >= inner {
            within -= inner;
            at += next_row;
        }
    }
    return sum_of(sum);
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
    let part = Part(channel, start + local, end, k, gamma[channel], beta[channel]);
    let all_chunks = params.channels * params.chunks;
    var delta = 0.0;
    if STAGE == 3u {
        delta = sum_lanes(local, 0u, sweep(0u, part, 0.0, 0.0)) / f32(params.terms * WIDTH);
    } else if STAGE > 0u {
        delta = mean_of_chunks(local, 0u, first_chunk);
    }
    if STAGE < 2u {
        let total = sum_lanes(local, LANES, sweep(STAGE, part, delta, 0.0));
        if local == 0u {
            partials[STAGE * all_chunks + first_chunk + group.z] = total;
        }
    } else {
        var squares: f32;
        if STAGE == 3u {
            squares = sum_lanes(local, LANES, sweep(1u, part, delta, 0.0)) / f32(params.terms * WIDTH);
        } else {
            squares = mean_of_chunks(local, LANES, all_chunks + first_chunk);
        }
        let scale = inverseSqrt(squares + params.eps);
        _ = sweep(2u, part, delta, scale);
        if local == 0u && group.z == 0u {
            mean[channel] = k + delta;
            variance[channel] = squares;
            saved[channel] = delta;
            saved[params.channels + channel] = scale;
        }
    }
}
