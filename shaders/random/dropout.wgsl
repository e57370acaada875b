// dropout   y[i] = s·x[i] + b where word u of Philox says so, else d;  u = i / span, kept if its upper 24 bits
//           are below `below`
// Reference  src/ops/dropout.rs; random/philox.rs
// Layout     x, y: f32 [count], dense
// Bindings   0 params uniform · 1 x read · 2 y read_write
// Mapping    one invocation four neighbours; more than 65535 groups fold into grid y
// Numerics   the choice is made by integers: the same elements on every device
// Barriers   none

const GROUP: u32 = 64u;

struct Params {
    count: u32,
    span: u32,
    below: u32,
    tag: u32,
    seed: vec2<u32>, // low word, high word
    stream: vec2<u32>,
    scale: f32,
    shift: f32,
    dropped: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

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

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let start = ((group.y * groups.x + group.x) * GROUP + local) * 4u;
    // A block's words serve 4·span neighbours, a multiple of four: never the end of one and the start of another.
    let words = philox(vec4(start / params.span / 4u, params.stream, params.tag), params.seed);
    for (var lane = 0u; lane < 4u; lane++) {
        let i = start + lane;
        if i >= params.count {
            return;
        }
        if words[i / params.span % 4u] >> 8u < params.below {
            y[i] = params.scale * x[i] + params.shift;
        } else {
            y[i] = params.dropped;
        }
    }
}
