// item is the element that an invocation of element-wise work takes: dispatches
// beyond 65,535 workgroups are folded over x and y, and may hold a few more.
int item() {
  uint tile = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
  return tile < p.tiles ? int(tile * gl_WorkGroupSize.x + gl_LocalInvocationID.x) : p.items;
}
