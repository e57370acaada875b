// subgroup_gradient   the gradients of attention as in tiled_gradient.wgsl, one of the three, from registers:
//            with p[i,j] = exp(s[i,j] − lse[i]), s[i,j] = scale·q[i]·k[j] + bias[i,j] for j open to i, else 0, and
//            ds[i,j] = p[i,j]·(z[i,j]·dy[i]·v[j] − delta[i])·scale, z[i,j] = 0 or params.kept at random:
//            dq[i] = Σj ds[i,j]·k[j], or, of keys, dk[j] = Σi ds[i,j]·q[i], or, of values,
//            dv[j] = Σi z[i,j]·p[i,j]·dy[i]; which is a parameter, as so large a kernel takes long to compile
// Reference  src/ops/attention/backward.rs
// Layout     own_a, own_b: f32 [own entries, own, depth and width], what gradients are computed for: q and dy,
//            or k and v; other_a, other_b: what is summed over: k and v, or q and dy; depth and width multiples of
//            four; bias: f32 with strides, that of an axis it is broadcast along being zero;
//            saved: f32 [2, entries, queries], lse and delta = Σ dy·y; vectors: other_a or, of values, other_b;
//            gradient: f32 like own_a or, of values, own_b
// Bindings   0 params uniform · 1 own_a read · 2 other_a read · 3 own_b read · 4 other_b read · 5 bias read ·
//            6 saved read · 7 vectors read · 8 gradient read_write
// Mapping    workgroup = subgroup = 16 queries or keys of one entry or, for keys, one head of keys, and 8·LANES
//            columns of the gradient; groups fold into grid y
// Tiles      products of 16 vectors with those of 8·LANES others in registers, then in workgroup memory, where they
//            become z·p or ds, then the products of these and the others' vectors in registers. Half as many others
//            and columns if not WIDE. Workgroup memory 1024·LANES bytes
// Numerics   f32; each output sums its terms in order
// Source     Dao 2023, arXiv:2307.08691
// Barriers   none; a whole group leaves or stays together, LANES is the size of every subgroup
//
// The specification wants `enable subgroups;` here, which naga does not take yet and does not need
// (https://github.com/gfx-rs/wgpu/issues/5555).

const BIAS: bool = false;
const DROPOUT: bool = false;
const LANES: u32 = 8u;
const ROWS: u32 = 16u; // of a tile that hold results: at most 1, 4, 8 or 16
const WIDE: bool = true; // whether the gradient has more than 4·LANES columns
const QUADS: u32 = 2u * LANES; // of others in a block, room for
const SECOND: u32 = 16u * QUADS; // where the products dy·v are

// Every score above this is one of an open key.
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
    of_keys: u32, // one if the gradient is that of keys or values
    of_values: u32, // one if it is that of values
    bias_strides: vec4<u32>, // of batch, head, query and key
    bias_dims: vec4<u32>,
    seed: vec2<u32>, // low word, high word
    stream: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> own_a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> other_a: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> own_b: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> other_b: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> saved: array<f32>;
@group(0) @binding(7) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> gradient: array<vec4<f32>>;

// Each lane has its own part, and no lane looks at another's: products, then in the first half what they come to.
var<workgroup> weights: array<vec4<f32>, 2u * SECOND>;

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

// What the weights of a query's keys, from `key` on, a multiple of four, were multiplied by.
fn kept(entry: u32, query: u32, key: u32) -> vec4<f32> {
    let block = (entry * params.queries + query) * ((params.keys + 3u) / 4u) + key / 4u;
    let words = philox(vec4(block, params.stream, 0x64726f70u), params.seed);
    return select(vec4(0.0), vec4(params.kept), (words >> vec4(8u)) < vec4(params.below));
}

// One of the two for the gradient of queries, the other for those of keys and values.
fn either(queries: u32, keys: u32) -> u32 {
    return select(queries, keys, params.of_keys == 1u);
}

// z of one of one's own and four others, the first a multiple of four.
fn kept_of(entry: u32, own: u32, first: u32) -> vec4<f32> {
    var z = vec4(1.0);
    if !DROPOUT {
        return z;
    }
    // Four keys of a query come in one block, four queries of a key in as many.
    for (var i = 0u; i < either(1u, 4u); i++) {
        let block = kept(entry, either(own, first + i), either(first, own & ~3u));
        let one = select(z, vec4(block[own % 4u]), vec4(0u, 1u, 2u, 3u) == vec4(i));
        z = select(block, one, params.of_keys == 1u);
    }
    return z;
}

// z·p or, unless of values, ds for one of one's own and four others, from the products of their vectors, q·k and dy·v,
// and the queries' lse and delta.
fn pair(a: vec4<f32>, b: vec4<f32>, entry: u32, own: u32, first: u32, lse: vec4<f32>, delta: vec4<f32>) -> vec4<f32> {
    let others = vec4(first) + vec4(0u, 1u, 2u, 3u);
    let queries = select(vec4(own), others, params.of_keys == 1u);
    let keys = select(others, vec4(own), params.of_keys == 1u);
    let position = queries + params.offset;
    let inside = others < vec4(either(params.keys, params.queries));
    var open = inside & (keys <= position + params.right) & (position <= keys + params.left);
    var s = params.scale * a;
    if BIAS {
        // Beyond the last query or key its bias is read and not used.
        let head = vec2(entry / params.heads, entry % params.heads) * params.bias_strides.xy;
        let column = min(keys, vec4(params.keys - 1u)) * params.bias_strides.w;
        let row = min(queries, vec4(params.queries - 1u)) * params.bias_strides.z;
        let at = head.x + head.y + column + row;
        s += vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
        open &= s > vec4(LOWEST);
    }
    let p = select(vec4(0.0), exp(s - lse), open);
    let z = kept_of(entry, own, first);
    return select(p * (b * z - delta) * params.scale, p * z, params.of_values == 1u);
}

// What is saved of four queries, the last standing in for those beyond it.
fn saved_of(part: u32, first: u32) -> vec4<f32> {
    let at = part * params.queries + min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(params.queries - 1u));
    return vec4(saved[at.x], saved[at.y], saved[at.z], saved[at.w]);
}

// Four vectors of the others, the last standing in for those beyond it.
fn others_from(first: u32) -> vec4<u32> {
    let last = either(params.keys, params.queries) - 1u;
    return min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(last));
}

// Four numbers of four others: a column of the result is one of the numbers.
fn columns_a(at: vec4<u32>) -> mat4x4<f32> {
    return transpose(mat4x4(other_a[at.x], other_a[at.y], other_a[at.z], other_a[at.w]));
}

fn columns_b(at: vec4<u32>) -> mat4x4<f32> {
    return transpose(mat4x4(other_b[at.x], other_b[at.y], other_b[at.z], other_b[at.w]));
}

// Four columns of four others' vectors.
fn vector_columns(at: vec4<u32>) -> mat4x4<f32> {
    return mat4x4(vectors[at.x], vectors[at.y], vectors[at.z], vectors[at.w]);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let own_count = either(params.queries, params.keys);
    let other_count = either(params.keys, params.queries);
    let shared_by = either(1u, params.per_group);
    let columns = select(params.depth, params.width, params.of_values == 1u);
    let tiles = (own_count + 15u) / 16u;
    let parts = (columns + 8u * LANES - 1u) / (8u * LANES);
    let tile = group.y * groups.x + group.x;
    let own_entry = tile / tiles / parts;
    if own_entry * shared_by >= params.entries {
        return;
    }
    let start = tile / parts % tiles * 16u;
    let column = tile % parts * (8u * LANES) + 4u * lane;
    // Rows and columns beyond the edge repeat the last ones and are not stored.
    let last = own_count - 1u;
    let low = own_entry * own_count + min(start + lane, last);
    let high = own_entry * own_count + min(start + 8u + lane, last);
    let depth = params.depth / 4u;
    // The products dy·v are of no use to dv.
    let width = select(params.width / 4u, 0u, params.of_values == 1u);
    let near = min(column, columns - 4u) / 4u;
    let far = min(column + 4u * LANES, columns - 4u) / 4u;
    // The others that see or are seen by some of the tile, from a multiple of four on.
    let block = select(4u * LANES, 8u * LANES, WIDE);
    let behind = min(start + ROWS, own_count);
    let lowest = start + params.offset;
    var begin = lowest - min(lowest, params.left);
    var end = min(behind + params.offset + params.right, params.keys);
    if params.of_keys == 1u {
        begin = max(start, params.right + params.offset) - (params.right + params.offset);
        end = min(max(behind + params.left, params.offset) - params.offset, params.queries);
    }
    var near_sum: array<vec4<f32>, 16>;
    var far_sum: array<vec4<f32>, 16>;
    for (var head = 0u; head < shared_by; head++) {
        let entry = own_entry * shared_by + head;
        let first_other = either(entry / params.per_group, entry) * other_count;
        for (var base = begin & ~3u; base < end; base += block) {
            let near_first = base + 4u * lane;
            let far_first = near_first + 4u * LANES;
            let near_others = first_other + others_from(near_first);
            let far_others = first_other + others_from(far_first);
            // The products q·k, and then dy·v.
            var near_a: array<vec4<f32>, 16>;
            var far_a: array<vec4<f32>, 16>;
            for (var d = 0u; d < depth; d++) {
                let a = own_a[low * depth + d];
                var b = a;
                if ROWS == 16u {
                    b = own_a[high * depth + d];
                }
                accumulate(&near_a, a, b, columns_a(near_others * depth + d));
                if WIDE {
                    accumulate(&far_a, a, b, columns_a(far_others * depth + d));
                }
            }
            keep(lane, &near_a);
            if WIDE {
                keep(LANES + lane, &far_a);
            }
            var near_b: array<vec4<f32>, 16>;
            var far_b: array<vec4<f32>, 16>;
            for (var d = 0u; d < width; d++) {
                let a = own_b[low * width + d];
                var b = a;
                if ROWS == 16u {
                    b = own_b[high * width + d];
                }
                accumulate(&near_b, a, b, columns_b(near_others * width + d));
                if WIDE {
                    accumulate(&far_b, a, b, columns_b(far_others * width + d));
                }
            }
            keep(SECOND + lane, &near_b);
            if WIDE {
                keep(SECOND + LANES + lane, &far_b);
            }
            // What they come to.
            let near_lse = saved_of(entry, near_first);
            let far_lse = saved_of(entry, far_first);
            let near_delta = saved_of(params.entries + entry, near_first);
            let far_delta = saved_of(params.entries + entry, far_first);
            for (var row = 0u; row < ROWS; row++) {
                let own = min(start + row, last);
                let query = min(own, params.queries - 1u);
                let lse = vec4(saved[entry * params.queries + query]);
                let delta = vec4(saved[(params.entries + entry) * params.queries + query]);
                let at = row * QUADS + lane;
                for (var part = 0u; part < select(1u, 2u, WIDE); part++) {
                    let first = base + 4u * (part * LANES + lane);
                    let place = at + part * LANES;
                    let those = select(lse, select(near_lse, far_lse, part == 1u), params.of_keys == 1u);
                    let deltas = select(delta, select(near_delta, far_delta, part == 1u), params.of_keys == 1u);
                    weights[place] = pair(weights[place], weights[place + SECOND], entry, own, first, those, deltas);
                }
            }
            // The vectors of the others whose weights the lanes hold in turn.
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
                    let others = (first_other + others_from(base + first + 4u * holder)) * (columns / 4u);
                    weigh(&near_sum, &p, holder, vector_columns(others + near));
                    if WIDE {
                        weigh(&far_sum, &p, holder, vector_columns(others + far));
                    }
                }
            }
        }
    }
    keep(lane, &near_sum);
    if WIDE {
        keep(LANES + lane, &far_sum);
    }
    for (var row = 0u; row < rows_to_store(lane); row++) {
        if start + row < own_count {
            store((own_entry * own_count + start + row) * columns, columns, column, row * QUADS + lane);
        }
    }
}

// Puts what a lane has of the tile's rows where their weights are. Through memory loops can take it up again: what is
// written 16 times takes 16 times as long to compile.
fn keep(at: u32, products: ptr<function, array<vec4<f32>, 16>>) {
    weights[0u * QUADS + at] = (*products)[0];
    weights[1u * QUADS + at] = (*products)[1];
    weights[2u * QUADS + at] = (*products)[2];
    weights[3u * QUADS + at] = (*products)[3];
    weights[4u * QUADS + at] = (*products)[4];
    weights[5u * QUADS + at] = (*products)[5];
    weights[6u * QUADS + at] = (*products)[6];
    weights[7u * QUADS + at] = (*products)[7];
    weights[8u * QUADS + at] = (*products)[8];
    weights[9u * QUADS + at] = (*products)[9];
    weights[10u * QUADS + at] = (*products)[10];
    weights[11u * QUADS + at] = (*products)[11];
    weights[12u * QUADS + at] = (*products)[12];
    weights[13u * QUADS + at] = (*products)[13];
    weights[14u * QUADS + at] = (*products)[14];
    weights[15u * QUADS + at] = (*products)[15];
}

// Adds to weighted vectors those of four others, of which lane `holder` has the weights.
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

fn store(row: u32, columns: u32, column: u32, at: u32) {
    if column < columns {
        gradient[(row + column) / 4u] = weights[at];
    }
    if WIDE && column + 4u * LANES < columns {
        gradient[(row + column) / 4u + LANES] = weights[at + LANES];
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
