// subgroup   y[i] = Σj z[i,j]·p[i,j]·v[j] / Σj p[i,j] and lse[i] = m[i] + ln Σj p[i,j], where
//           p[i,j] = exp(s[i,j] − m[i]), m[i] = maxj s[i,j], s[i,j] = scale·q[i]·k[j] + bias[i,j], j open to i,
//           z[i,j] = 0 or params.kept at random; zeros for both where no key is open
// Reference  src/ops/attention/mod.rs
// Layout     q: f32 [entries, queries, depth]; k: f32 [entries / per_group, keys, depth]; v: likewise, width;
//            depth and width multiples of four; bias: f32 with strides, that of an axis it is broadcast along being
//            zero; y: f32 [entries, queries, width]; lse: f32 [entries, queries]; dense but for bias
// Bindings   0 params uniform · 1 q read · 2 k read · 3 v read · 4 bias read · 5 y read_write · 6 lse read_write
// Mapping    workgroup = subgroup = 16 queries of one entry and 8·LANES of its values' columns; groups fold into
//            grid y
// Tiles      scores of 16 queries by 8·LANES keys in registers, then in workgroup memory, where they become
//            weights, then the products of weights and values in registers. Half as many keys and columns if not
//            WIDE. Workgroup memory 704·LANES bytes
// Numerics   f32, online softmax: where a block of keys brings a new maximum, what was summed before is scaled
//            down to it
// Source     Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135
// Barriers   none; a whole group leaves or stays together, LANES is the size of every subgroup
//
// The specification wants `enable subgroups;` here, which naga does not take yet and does not need
// (https://github.com/gfx-rs/wgpu/issues/5555).

const BIAS: bool = false;
const DROPOUT: bool = false;
const LANES: u32 = 8u;
const ROWS: u32 = 16u; // of a tile that hold results: at most 1, 4, 8 or 16
const WIDE: bool = true; // whether values have more than 4·LANES columns
const QUADS: u32 = 2u * LANES; // of keys in a block, room for

// What the score of a key counts as that is not open to a query; every score above LOWEST is one of an open key.
const CLOSED: f32 = -3.3e38;
const LOWEST: f32 = -3e38;

struct Params {
    queries: u32,
    keys: u32,
    depth: u32,
    width: u32,
    entries: u32, // batch · heads
    heads: u32,
    per_group: u32, // heads that share a head of keys and values
    offset: u32, // the position of the first query among the keys
    left: u32, // how far a query sees before its position
    right: u32, // and behind
    scale: f32,
    below: u32, // what a kept weight's random number is, of 2^24
    kept: f32,
    bias_strides: vec4<u32>, // of batch, head, query and key
    bias_dims: vec4<u32>,
    seed: vec2<u32>, // low word, high word
    stream: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;

// Each lane has its own part of all of these, and no lane looks at another's.
var<workgroup> weights: array<vec4<f32>, 16u * QUADS>; // scores before they are weights
var<workgroup> highest: array<f32, 16u * LANES>; // of the scores of each query so far
var<workgroup> factors: array<f32, 16u * LANES>; // what the block scales down what was before it by
var<workgroup> totals: array<f32, 16u * LANES>; // of each query's weights, those of the lane's keys

// The high word of a 32 × 32 bit product, from products of halves that cannot overflow.
fn mul_high(a: u32, b: u32) -> u32 {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let middle = a_high * b_low + (a_low * b_low >> 16u);
    let other = a_low * b_high + (middle & 0xffffu);
    return a_high * b_high + (middle >> 16u) + (other >> 16u);
}

// The block of that number of the stream with that key.
fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let high0 = mul_high(0xD2511F53u, c.x);
        let high1 = mul_high(0xCD9E8D57u, c.z);
        c = vec4(high1 ^ c.y ^ k.x, 0xCD9E8D57u * c.z, high0 ^ c.w ^ k.y, 0xD2511F53u * c.x);
        k += vec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// What the weights of a query's keys, from `key` on, are multiplied by.
fn kept(entry: u32, query: u32, key: u32) -> vec4<f32> {
    let block = (entry * params.queries + query) * ((params.keys + 3u) / 4u) + key / 4u;
    let words = philox(vec4(block, params.stream, 0x64726f70u), params.seed);
    return select(vec4(0.0), vec4(params.kept), (words >> vec4(8u)) < vec4(params.below));
}

// The scores of four keys for a query, from the products of their vectors.
fn score(product: vec4<f32>, entry: u32, query: u32, first: u32) -> vec4<f32> {
    let keys = vec4(first) + vec4(0u, 1u, 2u, 3u);
    var s = params.scale * product;
    if BIAS {
        let head = vec2(entry / params.heads, entry % params.heads) * params.bias_strides.xy;
        // Beyond the last key its bias is read and not used.
        let column = min(keys, vec4(params.keys - 1u)) * params.bias_strides.w;
        let at = head.x + head.y + column + query * params.bias_strides.z;
        s += vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
    }
    let position = query + params.offset;
    let seen = (keys <= vec4(position + params.right)) & (vec4(position) <= keys + params.left);
    return select(vec4(CLOSED), s, seen & (keys < vec4(params.keys)));
}

// exp(s − m) for an open key, else zero.
fn weight(s: vec4<f32>, m: f32) -> vec4<f32> {
    return select(vec4(0.0), exp(s - m), s > vec4(LOWEST));
}

fn largest(s: vec4<f32>) -> f32 {
    return max(max(s.x, s.y), max(s.z, s.w));
}

fn sum_of(p: vec4<f32>) -> f32 {
    return (p.x + p.y) + (p.z + p.w);
}

// Four rows from `first` on of a matrix of rows of `quads` fours, the last row standing in for those beyond it.
fn rows_from(first: u32, quads: u32) -> vec4<u32> {
    return min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(params.keys - 1u)) * quads;
}

// Four numbers of four keys: a column of the result is one of the numbers.
fn key_columns(at: vec4<u32>) -> mat4x4<f32> {
    return transpose(mat4x4(k[at.x], k[at.y], k[at.z], k[at.w]));
}

fn value_columns(at: vec4<u32>) -> mat4x4<f32> {
    return mat4x4(v[at.x], v[at.y], v[at.z], v[at.w]);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let tiles_w = (params.width + 8u * LANES - 1u) / (8u * LANES);
    let tiles_q = (params.queries + 15u) / 16u;
    let tile = group.y * groups.x + group.x;
    let entry = tile / tiles_w / tiles_q;
    if entry >= params.entries {
        return;
    }
    let start = tile / tiles_w % tiles_q * 16u;
    let column = tile % tiles_w * (8u * LANES) + 4u * lane;
    // Rows and columns beyond the edge repeat the last ones and are not stored.
    let depth = params.depth / 4u;
    let width = params.width / 4u;
    let last = params.queries - 1u;
    let low = (entry * params.queries + min(start + lane, last)) * depth;
    let high = (entry * params.queries + min(start + 8u + lane, last)) * depth;
    let near = min(column, params.width - 4u) / 4u;
    let far = min(column + 4u * LANES, params.width - 4u) / 4u;
    let first_key = entry / params.per_group * params.keys;
    for (var row = 0u; row < 16u; row++) {
        highest[row * LANES + lane] = CLOSED;
        totals[row * LANES + lane] = 0.0;
    }
    // The keys that some query of the tile sees, from a multiple of four on.
    let block = select(4u * LANES, 8u * LANES, WIDE);
    let lowest = start + params.offset;
    let end = min(min(start + ROWS, params.queries) + params.offset + params.right, params.keys);
    var near_sum: array<vec4<f32>, 16>;
    var far_sum: array<vec4<f32>, 16>;
    for (var base = (lowest - min(lowest, params.left)) & ~3u; base < end; base += block) {
        // Scores.
        let near_keys = first_key * depth + rows_from(base + 4u * lane, depth);
        let far_keys = first_key * depth + rows_from(base + 4u * (LANES + lane), depth);
        var near_products: array<vec4<f32>, 16>;
        var far_products: array<vec4<f32>, 16>;
        for (var d = 0u; d < depth; d++) {
            let a = q[low + d];
            var b = a;
            if ROWS == 16u && LANES == 8u {
                b = q[high + d];
            }
            accumulate(&near_products, a, b, key_columns(near_keys + d));
            if WIDE {
                accumulate(&far_products, a, b, key_columns(far_keys + d));
            }
        }
        keep(0u, lane, near_products[0], far_products[0]);
        keep(1u, lane, near_products[1], far_products[1]);
        keep(2u, lane, near_products[2], far_products[2]);
        keep(3u, lane, near_products[3], far_products[3]);
        keep(4u, lane, near_products[4], far_products[4]);
        keep(5u, lane, near_products[5], far_products[5]);
        keep(6u, lane, near_products[6], far_products[6]);
        keep(7u, lane, near_products[7], far_products[7]);
        keep(8u, lane, near_products[8], far_products[8]);
        keep(9u, lane, near_products[9], far_products[9]);
        keep(10u, lane, near_products[10], far_products[10]);
        keep(11u, lane, near_products[11], far_products[11]);
        keep(12u, lane, near_products[12], far_products[12]);
        keep(13u, lane, near_products[13], far_products[13]);
        keep(14u, lane, near_products[14], far_products[14]);
        keep(15u, lane, near_products[15], far_products[15]);
        // Weights.
        for (var row = 0u; row < ROWS; row++) {
            let query = min(start + row, last);
            let own = row * LANES + lane;
            let at = row * QUADS + lane;
            let s = score(weights[at], entry, query, base + 4u * lane);
            var t = vec4(CLOSED);
            if WIDE {
                t = score(weights[at + LANES], entry, query, base + 4u * (LANES + lane));
            }
            let before = highest[own];
            let m = max(before, subgroupMax(largest(max(s, t))));
            // One and not exp(0), which need not be one; and before the first open key there is nothing to scale.
            let factor = select(1.0, exp(before - m), before < m && before > LOWEST);
            var p = weight(s, m);
            var r = vec4<f32>();
            if WIDE {
                r = weight(t, m);
            }
            highest[own] = m;
            factors[own] = factor;
            totals[own] = totals[own] * factor + (sum_of(p) + sum_of(r));
            if DROPOUT {
                p *= kept(entry, query, base + 4u * lane);
                if WIDE {
                    r *= kept(entry, query, base + 4u * (LANES + lane));
                }
            }
            weights[at] = p;
            if WIDE {
                weights[at + LANES] = r;
            }
        }
        // Values: of the keys whose weights the lanes hold in turn.
        near_sum[0] *= factors[0u * LANES + lane];
        near_sum[1] *= factors[1u * LANES + lane];
        near_sum[2] *= factors[2u * LANES + lane];
        near_sum[3] *= factors[3u * LANES + lane];
        near_sum[4] *= factors[4u * LANES + lane];
        near_sum[5] *= factors[5u * LANES + lane];
        near_sum[6] *= factors[6u * LANES + lane];
        near_sum[7] *= factors[7u * LANES + lane];
        near_sum[8] *= factors[8u * LANES + lane];
        near_sum[9] *= factors[9u * LANES + lane];
        near_sum[10] *= factors[10u * LANES + lane];
        near_sum[11] *= factors[11u * LANES + lane];
        near_sum[12] *= factors[12u * LANES + lane];
        near_sum[13] *= factors[13u * LANES + lane];
        near_sum[14] *= factors[14u * LANES + lane];
        near_sum[15] *= factors[15u * LANES + lane];
        if WIDE {
            far_sum[0] *= factors[0u * LANES + lane];
            far_sum[1] *= factors[1u * LANES + lane];
            far_sum[2] *= factors[2u * LANES + lane];
            far_sum[3] *= factors[3u * LANES + lane];
            far_sum[4] *= factors[4u * LANES + lane];
            far_sum[5] *= factors[5u * LANES + lane];
            far_sum[6] *= factors[6u * LANES + lane];
            far_sum[7] *= factors[7u * LANES + lane];
            far_sum[8] *= factors[8u * LANES + lane];
            far_sum[9] *= factors[9u * LANES + lane];
            far_sum[10] *= factors[10u * LANES + lane];
            far_sum[11] *= factors[11u * LANES + lane];
            far_sum[12] *= factors[12u * LANES + lane];
            far_sum[13] *= factors[13u * LANES + lane];
            far_sum[14] *= factors[14u * LANES + lane];
            far_sum[15] *= factors[15u * LANES + lane];
        }
        for (var first = 0u; first < min(block, end - base); first += 4u * LANES) {
            var p: array<vec4<f32>, 16>;
            let from_p = lane + first / 4u;
            p[0] = weights[0u * QUADS + from_p];
            p[1] = weights[1u * QUADS + from_p];
            p[2] = weights[2u * QUADS + from_p];
            p[3] = weights[3u * QUADS + from_p];
            p[4] = weights[4u * QUADS + from_p];
            p[5] = weights[5u * QUADS + from_p];
            p[6] = weights[6u * QUADS + from_p];
            p[7] = weights[7u * QUADS + from_p];
            p[8] = weights[8u * QUADS + from_p];
            p[9] = weights[9u * QUADS + from_p];
            p[10] = weights[10u * QUADS + from_p];
            p[11] = weights[11u * QUADS + from_p];
            p[12] = weights[12u * QUADS + from_p];
            p[13] = weights[13u * QUADS + from_p];
            p[14] = weights[14u * QUADS + from_p];
            p[15] = weights[15u * QUADS + from_p];
            for (var holder = 0u; holder < LANES; holder++) {
                let rows = first_key * width + rows_from(base + first + 4u * holder, width);
                weigh(&near_sum, &p, holder, value_columns(rows + near));
                if WIDE {
                    weigh(&far_sum, &p, holder, value_columns(rows + far));
                }
            }
        }
    }
    // Through memory a loop can store them: 16 logarithms and more stores take long to compile.
    keep(0u, lane, near_sum[0], far_sum[0]);
    keep(1u, lane, near_sum[1], far_sum[1]);
    keep(2u, lane, near_sum[2], far_sum[2]);
    keep(3u, lane, near_sum[3], far_sum[3]);
    keep(4u, lane, near_sum[4], far_sum[4]);
    keep(5u, lane, near_sum[5], far_sum[5]);
    keep(6u, lane, near_sum[6], far_sum[6]);
    keep(7u, lane, near_sum[7], far_sum[7]);
    keep(8u, lane, near_sum[8], far_sum[8]);
    keep(9u, lane, near_sum[9], far_sum[9]);
    keep(10u, lane, near_sum[10], far_sum[10]);
    keep(11u, lane, near_sum[11], far_sum[11]);
    keep(12u, lane, near_sum[12], far_sum[12]);
    keep(13u, lane, near_sum[13], far_sum[13]);
    keep(14u, lane, near_sum[14], far_sum[14]);
    keep(15u, lane, near_sum[15], far_sum[15]);
    for (var row = 0u; row < rows_to_store(lane); row++) {
        let total = subgroupAdd(totals[row * LANES + lane]);
        if start + row < params.queries {
            store(entry * params.queries + start + row, row * LANES + lane, total, row * QUADS + lane, column);
        }
    }
}

// Puts what a lane has of a row where its weights are.
fn keep(row: u32, lane: u32, near: vec4<f32>, far: vec4<f32>) {
    weights[row * QUADS + lane] = near;
    if WIDE {
        weights[row * QUADS + LANES + lane] = far;
    }
}

// Adds to the weighted values those of four keys, of which lane `holder` has the weights.
fn weigh(
    sum: ptr<function, array<vec4<f32>, 16>>,
    p: ptr<function, array<vec4<f32>, 16>>,
    holder: u32,
    values: mat4x4<f32>,
) {
    (*sum)[0] += values * subgroupShuffle((*p)[0], holder);
    (*sum)[1] += values * subgroupShuffle((*p)[1], holder);
    (*sum)[2] += values * subgroupShuffle((*p)[2], holder);
    (*sum)[3] += values * subgroupShuffle((*p)[3], holder);
    (*sum)[4] += values * subgroupShuffle((*p)[4], holder);
    (*sum)[5] += values * subgroupShuffle((*p)[5], holder);
    (*sum)[6] += values * subgroupShuffle((*p)[6], holder);
    (*sum)[7] += values * subgroupShuffle((*p)[7], holder);
    (*sum)[8] += values * subgroupShuffle((*p)[8], holder);
    (*sum)[9] += values * subgroupShuffle((*p)[9], holder);
    (*sum)[10] += values * subgroupShuffle((*p)[10], holder);
    (*sum)[11] += values * subgroupShuffle((*p)[11], holder);
    (*sum)[12] += values * subgroupShuffle((*p)[12], holder);
    (*sum)[13] += values * subgroupShuffle((*p)[13], holder);
    (*sum)[14] += values * subgroupShuffle((*p)[14], holder);
    (*sum)[15] += values * subgroupShuffle((*p)[15], holder);
}

fn store(query: u32, own: u32, total: f32, kept: u32, column: u32) {
    let m = highest[own];
    let open = m > LOWEST;
    let divisor = select(1.0, total, open);
    let at = (query * params.width + column) / 4u;
    if column < params.width {
        y[at] = weights[kept] / divisor;
    }
    if WIDE && column + 4u * LANES < params.width {
        y[at + LANES] = weights[kept + LANES] / divisor;
    }
    if column == 0u {
        lse[query] = select(0.0, m + log(divisor), open);
    }
}

// Adds to a tile of 16 rows by four columns a lane the products of four terms: those of row i are held by lane i of
// `low`, or from 8 on with 8 lanes by lane i − 8 of `high`, and those of the lane's own columns by `columns`.
fn accumulate(sum: ptr<function, array<vec4<f32>, 16>>, low: vec4<f32>, high: vec4<f32>, columns: mat4x4<f32>) {
    (*sum)[0] += columns * subgroupBroadcast(low, 0u);
    if ROWS == 1u {
        return;
    }
    (*sum)[1] += columns * subgroupBroadcast(low, 1u);
    (*sum)[2] += columns * subgroupBroadcast(low, 2u);
    (*sum)[3] += columns * subgroupBroadcast(low, 3u);
    if ROWS == 4u {
        return;
    }
    (*sum)[4] += columns * subgroupBroadcast(low, 4u);
    (*sum)[5] += columns * subgroupBroadcast(low, 5u);
    (*sum)[6] += columns * subgroupBroadcast(low, 6u);
    (*sum)[7] += columns * subgroupBroadcast(low, 7u);
    if ROWS == 8u {
        return;
    }
    let rest = select(low, high, vec4(LANES == 8u));
    (*sum)[8] += columns * subgroupBroadcast(rest, 8u % LANES);
    (*sum)[9] += columns * subgroupBroadcast(rest, 9u % LANES);
    (*sum)[10] += columns * subgroupBroadcast(rest, 10u % LANES);
    (*sum)[11] += columns * subgroupBroadcast(rest, 11u % LANES);
    (*sum)[12] += columns * subgroupBroadcast(rest, 12u % LANES);
    (*sum)[13] += columns * subgroupBroadcast(rest, 13u % LANES);
    (*sum)[14] += columns * subgroupBroadcast(rest, 14u % LANES);
    (*sum)[15] += columns * subgroupBroadcast(rest, 15u % LANES);
}

// ROWS, which no compiler is to know: for a loop that stores rows. Unrolled, stores take as long to compile as the sums;
// and where parameters say how often a loop turns, llvmpipe's driver may compile the kernel anew at each launch.
fn rows_to_store(lane: u32) -> u32 {
    return ROWS + (lane >> 31u);
}
