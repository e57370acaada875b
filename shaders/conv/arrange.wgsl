// arrange   y[o, 4f + j] = x[o, 4f + j], or zero where there are no more channels: an operand with its channels last
// Reference  the references of the convolutions, src/ops/conv/mod.rs
// Layout     x: f32 [three axes, channels], any strides; y: f32 [the same axes, 4·extents.w], dense
// Bindings   0 params uniform · 1 x read · 2 y read_write
// Mapping    an invocation to four channels of a place or, where FOURS, of four neighbouring ones; groups beyond the
//            device's limit fold into grid y
// Tiles      4 × 4, transposed in registers: four loads and four stores of four words
// Numerics   what is read
// Barriers   none

const FOURS: bool = true; // places that are neighbours in x come by fours, and X holds four

alias X = vec4<f32>; // or f32

struct Params {
    count: u32, // invocations that have work
    channels: u32,
    channel: u32, // from a channel of x to the next
    place: u32, // from a place of y to the next, in fours
    extents: vec4<u32>, // where FOURS, fours of places; fours of channels
    x_steps: vec4<u32>, // but for channels
    y_steps: vec4<u32>, // in fours
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

// A channel of a place, four times, or of four.
fn fetched(start: u32, channel: u32) -> vec4<f32> {
    let at = start + min(channel, params.channels - 1u) * params.channel;
    let value = vec4<f32>(x[select(at, at / 4u, FOURS)]);
    return select(vec4<f32>(), value, channel < params.channels);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (group.y * groups.x + group.x) * 64u + lane;
    if index >= params.count {
        return;
    }
    let extents = params.extents;
    let three = index / extents.w;
    let two = three / extents.z;
    let one = two / extents.y;
    let at = vec4(one, two - one * extents.y, three - two * extents.z, index - three * extents.w);
    let start = dot(at, params.x_steps);
    let to = dot(at, params.y_steps);
    let a = fetched(start, 4u * at.w);
    let b = fetched(start, 4u * at.w + 1u);
    let c = fetched(start, 4u * at.w + 2u);
    let d = fetched(start, 4u * at.w + 3u);
    let places = transpose(mat4x4(a, b, c, d));
    y[to] = places[0];
    if FOURS {
        y[to + params.place] = places[1];
        y[to + 2u * params.place] = places[2];
        y[to + 3u * params.place] = places[3];
    }
}
