// What happens to an output behind the sum: the activation, its kind as a
// specialization constant, so that none costs nothing.
layout(constant_id = 1) const int activation = 0; // conv.ActivationKind

#define ACTIVATION activation
#include "activation.glsl"

vec4 finish(vec4 v) { return activate4(v, p.low, p.high); }
