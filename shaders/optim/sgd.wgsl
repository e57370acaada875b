// sgd   d = g + λ·p,  v ← μ·v + d,  q = p − lr·(a·d + b·v)
// Reference  src/optim/sgd.rs, which says what a and b are for momentum and for Nesterov's
// Layout     p, g, v, q: f32 [count], dense
// Bindings   0 params uniform · 1 p read · 2 g read · 3 v read_write · 4 q read_write
// Mapping    one invocation an element, or four; more than 65535 groups fold into grid y
// Barriers   none

const GROUP: u32 = 256u;

alias X = vec4<f32>; // or f32, where count is no multiple of four

struct Params {
    count: u32, // of X
    decay: f32,
    momentum: f32,
    lr: f32,
    of_gradient: f32,
    of_velocity: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<X>;
@group(0) @binding(2) var<storage, read> g: array<X>;
@group(0) @binding(3) var<storage, read_write> v: array<X>;
@group(0) @binding(4) var<storage, read_write> q: array<X>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * GROUP + local;
    if i >= params.count {
        return;
    }
    let d = g[i] + params.decay * p[i];
    let velocity = params.momentum * v[i] + d;
    v[i] = velocity;
    q[i] = p[i] - params.lr * (params.of_gradient * d + params.of_velocity * velocity);
}
