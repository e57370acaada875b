// forward   y[i] = Σj z[i,j]·p[i,j]·v[j] / Σj p[i,j] and lse[i] = m[i] + ln Σj p[i,j], where
//           p[i,j] = exp(s[i,j] − m[i]), m[i] = maxj s[i,j], s[i,j] = scale·q[i]·k[j] + bias[i,j], j open to i,
//           z[i,j] = 0 or params.kept at random; zeros for both where no key is open
// Reference  src/ops/attention/reference.rs
// Layout     q: f32 [entries, queries, depth]; k: f32 [entries / per_group, keys, depth]; v: likewise, width;
//            bias: f32 with strides, that of an axis it is broadcast along being zero;
//            y: f32 [entries, queries, width]; lse: f32 [entries, queries]; dense but for bias
// Bindings   0 params uniform · 1 q read · 2 k read · 3 v read · 4 bias read · 5 y read_write · 6 lse read_write
// Mapping    workgroup = tile of 4·LANES queries of one entry, an invocation four of them, the lanes of a
//            vector; keys go by in blocks of four, the same for all invocations. More than 65535 groups fold
//            into grid y
// Numerics   f32, online softmax: where a block brings a new maximum, what was summed before is scaled down
//            to it. y is the accumulator, so neither depth nor width has a limit
// Source     Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135
// Barriers   none

const BIAS: bool = false;
const DROPOUT: bool = false;
const LANES: u32 = 8u;

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

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tiles = (params.queries + 4u * LANES - 1u) / (4u * LANES);
    let tile = group.y * groups.x + group.x;
    let entry = tile / tiles;
    let start = tile % tiles * (4u * LANES);
    let own = start + local * 4u;
    if entry >= params.entries || own >= params.queries {
        return;
    }
    // Queries beyond the last repeat it: what they compute and store is the same.
    let queries = min(vec4(own) + vec4(0u, 1u, 2u, 3u), vec4(params.queries - 1u));
    let rows = entry * params.queries + queries;
    let from_q = rows * params.depth;
    let to_y = rows * params.width;
    let first_key = entry / params.per_group * params.keys;
    for (var d = 0u; d < params.width; d++) {
        store(to_y + d, vec4(0.0));
    }
    // The keys that some query of the tile sees, from a multiple of four on.
    let lowest = start + params.offset;
    let highest = min(start + 4u * LANES, params.queries) + params.offset;
    let end = min(highest + params.right, params.keys);
    var m = vec4(CLOSED);
    var total = vec4<f32>();
    for (var key = (lowest - min(lowest, params.left)) & ~3u; key < end; key += 4u) {
        let near = first_key + min(vec4(key) + vec4(0u, 1u, 2u, 3u), vec4(params.keys - 1u));
        let from_k = near * params.depth;
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        var s2 = vec4<f32>();
        var s3 = vec4<f32>();
        for (var d = 0u; d < params.depth; d++) {
            let a = vec4(q[from_q.x + d], q[from_q.y + d], q[from_q.z + d], q[from_q.w + d]);
            s0 += a * k[from_k.x + d];
            s1 += a * k[from_k.y + d];
            s2 += a * k[from_k.z + d];
            s3 += a * k[from_k.w + d];
        }
        s0 = score(s0, entry, queries, key);
        s1 = score(s1, entry, queries, key + 1u);
        s2 = score(s2, entry, queries, key + 2u);
        s3 = score(s3, entry, queries, key + 3u);
        let next = max(m, max(max(s0, s1), max(s2, s3)));
        // One and not exp(0), which need not be one; and before the first open key there is nothing to scale.
        let factor = select(vec4(1.0), exp(m - next), (m < next) & (m > vec4(LOWEST)));
        m = next;
        var p = mat4x4(weight(s0, m), weight(s1, m), weight(s2, m), weight(s3, m));
        total = total * factor + (p[0] + p[1] + p[2] + p[3]);
        if DROPOUT {
            let z = transpose(mat4x4(
                kept(entry, queries.x, key),
                kept(entry, queries.y, key),
                kept(entry, queries.z, key),
                kept(entry, queries.w, key),
            ));
            p = mat4x4(p[0] * z[0], p[1] * z[1], p[2] * z[2], p[3] * z[3]);
        }
        let from_v = near * params.width;
        for (var d = 0u; d < params.width; d++) {
            let at = to_y + d;
            let before = vec4(y[at.x], y[at.y], y[at.z], y[at.w]) * factor;
            let low = p[0] * v[from_v.x + d] + p[1] * v[from_v.y + d];
            let high = p[2] * v[from_v.z + d] + p[3] * v[from_v.w + d];
            store(at, before + (low + high));
        }
    }
    let open = m > vec4(LOWEST);
    let divisor = select(vec4(1.0), total, open);
    for (var d = 0u; d < params.width; d++) {
        let at = to_y + d;
        store(at, vec4(y[at.x], y[at.y], y[at.z], y[at.w]) / divisor);
    }
    let logarithm = select(vec4(0.0), m + log(divisor), open);
    lse[rows.x] = logarithm.x;
    lse[rows.y] = logarithm.y;
    lse[rows.z] = logarithm.z;
    lse[rows.w] = logarithm.w;
}

fn store(at: vec4<u32>, value: vec4<f32>) {
    y[at.x] = value.x;
    y[at.y] = value.y;
    y[at.z] = value.z;
    y[at.w] = value.w;
}
