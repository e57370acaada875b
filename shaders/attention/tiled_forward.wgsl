// tiled_forward   attention as in forward.wgsl, from tiles in workgroup memory:
//           y[i] = Σj z[i,j]·p[i,j]·v[j] / Σj p[i,j] and lse[i] = m[i] + ln Σj p[i,j], where
//           p[i,j] = exp(s[i,j] − m[i]), m[i] = maxj s[i,j], s[i,j] = scale·q[i]·k[j] + bias[i,j], j open to i,
//           z[i,j] = 0 or params.kept at random; zeros for both where no key is open
// Reference  src/ops/attention/mod.rs
// Layout     q: f32 [entries, queries, depth]; k: f32 [entries / per_group, keys, depth]; v: likewise, width;
//            bias: f32 with strides, that of an axis it is broadcast along being zero;
//            y: f32 [entries, queries, width]; lse: f32 [entries, queries]; dense but for bias
// Bindings   0 params uniform · 1 q read · 2 k read · 3 v read · 4 bias read · 5 y read_write · 6 lse read_write
// Mapping    workgroup = 32 queries of one entry and 64 columns of y, invocation = 4 queries × 2 keys of the scores,
//            then 4 × 4 outputs; keys go by in blocks of 32. More than 65535 groups fold into grid y
// Tiles      16 × 8 invocations; scores from 8 features at a time and outputs from 8 keys at a time in workgroup
//            memory, four to a word, a line of words longer than what it holds, so that lanes write to different
//            banks
// Numerics   f32, online softmax: where a block brings a new maximum, what was summed before is scaled down to it
// Source     Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135
// Barriers   two for each 8 features or keys, two for each block, one at the end; a whole group leaves or
//            stays together

const BIAS: bool = false;
const DROPOUT: bool = false;

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
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;

const NEAR: u32 = 9u; // words of a line: eight fours of queries, and one between lines
const FAR: u32 = 17u; // eight fours of keys, or sixteen of columns

var<workgroup> near: array<vec4<f32>, 8u * NEAR>; // 8 features of the queries
var<workgroup> far: array<vec4<f32>, 8u * FAR>; // 8 features of the keys; then 8 keys' values
var<workgroup> weights: array<vec4<f32>, 32u * NEAR>; // z·p, keys by queries; or something of each invocation

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

// The scores of a key for four queries, from the products of their vectors.
fn score(product: vec4<f32>, entry: u32, queries: vec4<u32>, key: u32) -> vec4<f32> {
    var s = params.scale * product;
    if BIAS {
        let head = vec2(entry / params.heads, entry % params.heads) * params.bias_strides.xy;
        // Beyond the last key its bias is read and not used.
        let column = min(key, params.keys - 1u) * params.bias_strides.w;
        let at = head.x + head.y + column + queries * params.bias_strides.z;
        s += vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
    }
    let position = queries + params.offset;
    let seen = (vec4(key) <= position + params.right) & (position <= vec4(key + params.left));
    return select(vec4(CLOSED), s, seen & vec4(key < params.keys));
}

// exp(s − m) for an open key, else zero.
fn weight(s: vec4<f32>, m: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), exp(s - m), s > vec4(LOWEST));
}

@compute @workgroup_size(16, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tiles = (params.queries + 31u) / 32u;
    let parts = (params.width + 63u) / 64u;
    let tile = group.y * groups.x + group.x;
    let entry = tile / tiles / parts;
    if entry >= params.entries {
        return;
    }
    let start = tile / parts % tiles * 32u;
    let tx = local % 16u;
    let ty = local / 16u;
    let column = tile % parts * 64u + 4u * tx;
    // Queries, keys and columns beyond the last repeat it, and are not stored or count for nothing.
    let fours = vec4(0u, 1u, 2u, 3u);
    let last_query = vec4(params.queries - 1u);
    let last_key = vec4(params.keys - 1u);
    let queries = min(vec4(start + 4u * ty) + fours, last_query);
    let first_key = entry / params.per_group * params.keys;
    // The keys that some query of the tile sees, from a multiple of four on.
    let lowest = start + params.offset;
    let highest = min(start + 32u, params.queries) + params.offset;
    let end = min(highest + params.right, params.keys);
    var m = vec4(CLOSED);
    var total = vec4<f32>();
    var row0 = vec4<f32>();
    var row1 = vec4<f32>();
    var row2 = vec4<f32>();
    var row3 = vec4<f32>();
    for (var block = (lowest - min(lowest, params.left)) & ~3u; block < end; block += 32u) {
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        for (var d0 = 0u; d0 < params.depth; d0 += 8u) {
            // Lanes read along the features, which are neighbours; half of them queries, half of them keys.
            let inside = d0 + local % 8u < params.depth;
            let d = min(d0 + local % 8u, params.depth - 1u);
            if local < 64u {
                let first = vec4(start + 4u * (local / 8u)) + fours;
                let at = (entry * params.queries + min(first, last_query)) * params.depth + d;
                let values = vec4(q[at.x], q[at.y], q[at.z], q[at.w]);
                near[local % 8u * NEAR + local / 8u] = select(vec4<f32>(), values, inside);
            } else {
                let first = vec4(block + 4u * (local / 8u - 8u)) + fours;
                let at = (first_key + min(first, last_key)) * params.depth + d;
                let values = vec4(k[at.x], k[at.y], k[at.z], k[at.w]);
                far[local % 8u * FAR + local / 8u - 8u] = select(vec4<f32>(), values, inside);
            }
            workgroupBarrier();
            for (var i = 0u; i < 8u; i++) {
                let a = near[i * NEAR + ty];
                let b = far[i * FAR + tx / 2u];
                let pair = select(b.xy, b.zw, tx % 2u == 1u);
                s0 += a * pair.x;
                s1 += a * pair.y;
            }
            workgroupBarrier();
        }
        let key = block + 2u * tx;
        s0 = score(s0, entry, queries, key);
        s1 = score(s1, entry, queries, key + 1u);
        weights[local] = max(s0, s1);
        workgroupBarrier();
        var next = m;
        for (var lane = 0u; lane < 16u; lane++) {
            next = max(next, weights[16u * ty + lane]);
        }
        workgroupBarrier();
        // One and not exp(0), which need not be one; and before the first open key there is nothing to scale.
        let factor = select(vec4(1.0), exp(m - next), (m < next) & (m > vec4(LOWEST)));
        m = next;
        s0 = weight(s0, m);
        s1 = weight(s1, m);
        total = total * factor + (s0 + s1);
        row0 *= factor.x;
        row1 *= factor.y;
        row2 *= factor.z;
        row3 *= factor.w;
        weights[2u * tx * NEAR + ty] = s0;
        weights[(2u * tx + 1u) * NEAR + ty] = s1;
        if DROPOUT {
            for (var i = 0u; i < 4u; i++) {
                let z = kept(entry, queries[i], key);
                let pair = select(z.xy, z.zw, tx % 2u == 1u);
                weights[2u * tx * NEAR + ty][i] *= pair.x;
                weights[(2u * tx + 1u) * NEAR + ty][i] *= pair.y;
            }
        }
        for (var j0 = 0u; j0 < 32u; j0 += 8u) {
            let value = (first_key + min(block + j0 + ty, last_key.x)) * params.width;
            let at = value + min(vec4(column) + fours, vec4(params.width - 1u));
            far[ty * FAR + tx] = vec4(v[at.x], v[at.y], v[at.z], v[at.w]);
            workgroupBarrier();
            for (var j = 0u; j < 8u; j++) {
                let p = weights[(j0 + j) * NEAR + ty];
                let columns = far[j * FAR + tx];
                row0 += p.x * columns;
                row1 += p.y * columns;
                row2 += p.z * columns;
                row3 += p.w * columns;
            }
            workgroupBarrier();
        }
    }
    weights[local] = total;
    workgroupBarrier();
    total = vec4<f32>();
    for (var lane = 0u; lane < 16u; lane++) {
        total += weights[16u * ty + lane];
    }
    let open = m > vec4(LOWEST);
    let divisor = select(vec4(1.0), total, open);
    store(entry, queries.x, column, row0 / divisor.x);
    store(entry, queries.y, column, row1 / divisor.y);
    store(entry, queries.z, column, row2 / divisor.z);
    store(entry, queries.w, column, row3 / divisor.w);
    if column == 0u {
        let logarithm = select(vec4(0.0), m + log(divisor), open);
        for (var i = 0u; i < 4u; i++) {
            lse[entry * params.queries + queries[i]] = logarithm[i];
        }
    }
}

// Of queries beyond the last the same is stored as of the last.
fn store(entry: u32, query: u32, column: u32, values: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) {
        if column + j < params.width {
            y[(entry * params.queries + query) * params.width + column + j] = values[j];
        }
    }
}
