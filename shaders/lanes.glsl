// A lane loads one of LANES neighbouring weights, and hands it to its subgroup.
//
// LANES is the device's subgroup size, or 1 for a kernel that works with any
// and needs no subgroup operations.

#if LANES > 1
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_vote : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_shuffle : require
#define LANE int(gl_SubgroupInvocationID)
#define ANY(b) subgroupAny(b)
#else
#define LANE 0
#define ANY(b) (b)
#endif

// HAND(v, i): lane i's v on every lane. Shuffle and broadcast both do that;
// which is faster is a matter of the driver (lavapipe 22.3: shuffle 1 cycle,
// broadcast 20; SwiftShader: broadcast 3 cycles, shuffle 7). A broadcast wants a
// literal lane.
#ifdef BROADCAST
#define HAND subgroupBroadcast
#else
#define HAND subgroupShuffle
#endif

// fourWeights returns weights 4i…4i+3 of the LANES that the subgroup holds.
#if LANES == 4
#define fourWeights(held, i) vec4(HAND(held, 0), HAND(held, 1), HAND(held, 2), HAND(held, 3))
#elif LANES == 8
#define fourWeights(held, i) \
  ((i) == 0 ? vec4(HAND(held, 0), HAND(held, 1), HAND(held, 2), HAND(held, 3)) \
            : vec4(HAND(held, 4), HAND(held, 5), HAND(held, 6), HAND(held, 7)))
#endif

// HELD4(held, i): lane i's four weights on every lane.
#if LANES == 1
#define HELD4(held, i) (held)
#elif defined(BROADCAST)
#define HELD4(held, i) ((i) == 0 ? HAND(held, 0) : (i) == 1 ? HAND(held, 1) : (i) == 2 ? HAND(held, 2) : HAND(held, 3))
#else
#define HELD4(held, i) HAND(held, i)
#endif
