// bias_gradient   dbias[e] = Σ p[i,j]·(z[i,j]·dy[i]·v[j] − delta[i]) over the batch entries, heads, queries i and
//                 keys j that bias[e] is broadcast to, with p and z as in gradient.wgsl
// Reference  src/ops/attention/backward.rs
// Layout     q, k, v, dy: f32 [entries or entries / per_group, queries or keys, depth or width];
//            saved: f32 [2, entries, queries], lse and delta = Σ dy·y;
//            bias, dbias: f32 [batch or 1, heads or 1, queries or 1, keys or 1]; all dense
// Bindings   0 params uniform · 1 q read · 2 k read · 3 v read · 4 dy read · 5 bias read · 6 saved read ·
//            7 dbias read_write
// Mapping    one invocation an element; more than 65535 groups fold into grid y
// Numerics   f32; each output sums its terms in order
// Barriers   none

const DROPOUT: bool = false;
const GROUP: u32 = 64u;

// A bias above this is one of an open key.
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
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> saved: array<f32>;
@group(0) @binding(7) var<storage, read_write> dbias: array<f32>;

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

// What the weight of a pair was multiplied by.
fn kept(entry: u32, query: u32, key: u32) -> f32 {
    if !DROPOUT {
        return 1.0;
    }
    let block = (entry * params.queries + query) * ((params.keys + 3u) / 4u) + key / 4u;
    let words = philox(vec4(block, params.stream, 0x64726f70u), params.seed);
    return select(0.0, params.kept, words[key % 4u] >> 8u < params.below);
}

// What a pair of an open key adds, its score being scale·q·k + extra.
fn slope(entry: u32, query: u32, key: u32, extra: f32) -> f32 {
    let row = entry * params.queries + query;
    let column = entry / params.per_group * params.keys + key;
    var product = 0.0;
    for (var d = 0u; d < params.depth; d++) {
        product += q[row * params.depth + d] * k[column * params.depth + d];
    }
    var change = 0.0;
    for (var d = 0u; d < params.width; d++) {
        change += dy[row * params.width + d] * v[column * params.width + d];
    }
    let p = exp(params.scale * product + extra - saved[row]);
    return p * (change * kept(entry, query, key) - saved[params.entries * params.queries + row]);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let dims = params.bias_dims;
    let element = (group.y * groups.x + group.x) * GROUP + local;
    if element >= dims.x * dims.y * dims.z * dims.w {
        return;
    }
    let extra = bias[element];
    let rest = element / dims.w;
    let index = vec4(rest / dims.z / dims.y, rest / dims.z % dims.y, rest % dims.z, element % dims.w);
    // An axis that the bias is broadcast along is gone through, on others only its own place.
    let whole = vec4(params.entries / params.heads, params.heads, params.queries, params.keys);
    let end = select(index + 1u, whole, dims == vec4(1u));
    var total = 0.0;
    for (var batch = index.x; batch < end.x; batch++) {
        for (var head = index.y; head < end.y; head++) {
            for (var query = index.z; query < end.z; query++) {
                let position = query + params.offset;
                for (var key = index.w; key < end.w; key++) {
                    if extra > LOWEST && key <= position + params.right && position <= key + params.left {
                        total += slope(batch * params.heads + head, query, key, extra);
                    }
                }
            }
        }
    }
    dbias[element] = total;
}
