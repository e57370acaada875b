// adam   d = g + λ·p,  m ← β₁·m + (1 − β₁)·d,  v ← β₂·v + (1 − β₂)·d²,  q = s·p − a·m / (b·√v + ε)
// Reference  src/optim/adam.rs, which says what λ, s, a and b are for Adam and for AdamW
// Layout     p, g, m, v, q: f32 [count], dense
// Bindings   0 params uniform · 1 p read · 2 g read · 3 m read_write · 4 v read_write · 5 q read_write
// Mapping    one invocation an element, or four; more than 65535 groups fold into grid y
// Numerics   v ≥ 0 and ε > 0, so nothing is divided by zero
// Barriers   none

const GROUP: u32 = 256u;

alias X = vec4<f32>; // or f32, where count is no multiple of four

struct Params {
    count: u32, // of X
    coupled_decay: f32,
    shrink: f32,
    beta1: f32,
    fresh1: f32,
    beta2: f32,
    fresh2: f32,
    step_size: f32,
    root_scale: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<X>;
@group(0) @binding(2) var<storage, read> g: array<X>;
@group(0) @binding(3) var<storage, read_write> m: array<X>;
@group(0) @binding(4) var<storage, read_write> v: array<X>;
@group(0) @binding(5) var<storage, read_write> q: array<X>;

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
    let d = g[i] + params.coupled_decay * p[i];
    let mean = params.beta1 * m[i] + params.fresh1 * d;
    let square = params.beta2 * v[i] + params.fresh2 * (d * d);
    m[i] = mean;
    v[i] = square;
    q[i] = params.shrink * p[i] - params.step_size * mean / (params.root_scale * sqrt(square) + params.eps);
}
