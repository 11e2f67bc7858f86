// The sums of a workgroup on matrix units (GL_KHR_cooperative_matrix), which
// multiply an M×K by a K×N matrix of 16-bit numbers and add that to M×N float32
// sums. A subgroup holds TM × TN such matrices of sums:
//
//                     across subgroups → columns
//                    ┌───────────┬───────────┐
//    down subgroups  │ TM·M×TN·N │           │
//       ↓ rows       ├───────────┼───────────┤
//                    │           │           │
//                    └───────────┴───────────┘
//
// M, N, K and the subgroup's size are the device's.
//
// PARTS = 1: operands are values of the 16-bit type, so that products are exact
// in float32 and a result is within conv.Sum.Bound.
//
// PARTS = 3: operands are float32 and cut into three 16-bit numbers each, by
// cutting off bits: bfloat16 has eight of them, x = x₀ + x₁ + x₂ holds exactly,
// all three have x's sign, |x₁| < 2⁻⁷|x₀|, |x₂| < 2⁻¹⁵|x₀|, and
//
//   Σᵢⱼ |xᵢ·wⱼ| = |x·w|.
//
// Eight of the nine products are made, x₂·w₂ < 2⁻³⁰|x·w| is left out. K terms at
// a time are summed from zero, the lesser products first: those seven, less
// than 2⁻⁶ of |x·w| together, are rounded at most 8K times, those of x₀·w₀ K times,
// and the sums so far once for each step. With T steps in all
//
//   |error| ≤ γ(K + 8K·2⁻⁶ + T + 1)·Σ|x·w|,
//
// the 1 for the bias and what was left out; twice K where a unit cuts sums off
// instead of rounding them. kernels (matrix.go) asks that this be no more than γ(n),
// conv.Sum.Bound of n products. An operand below 2⁻¹⁰² loses its last bits to
// underflow, and an infinite one makes NaN of what it reaches: ∞ − ∞.
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#ifdef BF16
#extension GL_EXT_bfloat16 : require
#define ELEMENT bfloat16_t
const uint kept = 0xffff0000u; // the bits of a float32 that an element holds
#else
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define ELEMENT float16_t
const uint kept = 0xffffe000u;
#endif

layout(constant_id = 2) const int M = 16;
layout(constant_id = 3) const int N = 16;
layout(constant_id = 4) const int K = 16;
layout(constant_id = 5) const int lanes = 32;  // of a subgroup
layout(constant_id = 6) const int across = 2;  // subgroups side by side
layout(constant_id = 7) const int depth = 32;  // channels of a step, a multiple of K

const int threads = int(gl_WorkGroupSize.x);
const int columns = N * TN * across;
const int rows = M * TM * (threads / lanes / across);
// A line of the tile is 16 bytes longer than what is in it, so that lines do not
// all start in the same bank of shared memory.
const int valueLine = columns + 8, weightLine = rows + 8;
const int weightsAt = depth * valueLine, part = weightsAt + depth * weightLine;
shared ELEMENT tiles[PARTS * part]; // values[depth][columns], weights[depth][rows], of each part
shared float sums[threads / lanes * M * N]; // a matrix of each subgroup

#define SUMS coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
SUMS acc[TM * TN];

void clearSums() {
  UNROLL for (int i = 0; i < TM * TN; i++) acc[i] = SUMS(0.0);
}

void keep(int at, float v) {
#if PARTS == 1
  tiles[at] = ELEMENT(v);
#else
  UNROLL for (int i = 0; i < PARTS; i++) {
    float high = uintBitsToFloat(floatBitsToUint(v) & kept);
    tiles[at + i * part] = ELEMENT(high);
    v -= high; // exact
  }
#endif
}

void put(int d, int column, float v) { keep(d * valueLine + column, v); }

#define LOAD_A(m, of, d, row) coopMatLoad(m, tiles, (of) * part + weightsAt + (d) * weightLine + (row), weightLine, gl_CooperativeMatrixLayoutColumnMajor)
#define LOAD_B(m, of, d, column) coopMatLoad(m, tiles, (of) * part + (d) * valueLine + (column), valueLine, gl_CooperativeMatrixLayoutRowMajor)

void multiply(int tid, int wAt, int count) {
  for (int i = tid * 4; i < depth * rows; i += threads * 4) {
    bool exists = i < count * rows;
    vec4 w = mix(vec4(0.0), wt[mix(0, wAt + i, exists) / 4], bvec4(exists));
    int at = weightsAt + i / rows * weightLine + i % rows;
    UNROLL for (int j = 0; j < 4; j++) keep(at + j, w[j]);
  }
  barrier();
  int row = int(gl_SubgroupID) / across * (TM * M), column = int(gl_SubgroupID) % across * (TN * N);
  for (int d = 0; d < depth; d += K) {
    coopmat<ELEMENT, gl_ScopeSubgroup, M, K, gl_MatrixUseA> a[PARTS * TM];
    coopmat<ELEMENT, gl_ScopeSubgroup, K, N, gl_MatrixUseB> b[PARTS * TN];
    UNROLL for (int s = 0; s < PARTS; s++) {
      UNROLL for (int i = 0; i < TM; i++) LOAD_A(a[s * TM + i], s, d, row + i * M);
      UNROLL for (int j = 0; j < TN; j++) LOAD_B(b[s * TN + j], s, d, column + j * N);
    }
    UNROLL for (int i = 0; i < TM; i++) {
      UNROLL for (int j = 0; j < TN; j++) {
#if PARTS == 1
        acc[i * TN + j] = coopMatMulAdd(a[i], b[j], acc[i * TN + j]);
#else
        SUMS step = SUMS(0.0);
        // Least first: parts u of the weight and s − u of the value.
        UNROLL for (int s = 3; s >= 0; s--) {
          UNROLL for (int u = max(0, s - 2); u <= min(2, s); u++) step = coopMatMulAdd(a[u * TM + i], b[(s - u) * TN + j], step);
        }
        acc[i * TN + j] += step;
#endif
      }
    }
  }
  barrier();
}

// takeOut stores a matrix of sums, of which nobody may know which invocation
// holds what: through shared memory, four channels of an output at a time. row is
// its first channel within the block, column its first output.
void takeOut(SUMS m, int kb, int row, int column) {
  int at = int(gl_SubgroupID) * (M * N), pixels = p.ho * p.wo, g = kb / p.groupBlocks;
  coopMatStore(m, sums, at, N, gl_CooperativeMatrixLayoutRowMajor);
  barrier();
  for (int e = int(gl_SubgroupInvocationID); e < M * N / 4; e += lanes) {
    int q = e / N * 4, from = at + q * N + e % N, k = row + q, o = column + e % N, image = o / pixels;
    vec4 v = finish(vec4(sums[from], sums[from + N], sums[from + 2 * N], sums[from + 3 * N]) + wt[(p.biasAt + kb * rows + k) / 4]);
    k += (kb - g * p.groupBlocks) * rows;
    int to = p.firstY + (image * p.k + g * p.kg + k) * pixels + o - image * pixels;
    UNROLL for (int c = 0; c < 4; c++) {
      if (all(bvec2(o < p.items, k + c < p.kg))) y[to + c * pixels] = v[c];
    }
  }
  barrier();
}

// Written out, since spirv-opt unrolls no loop around another.
#define TAKE(i, j) if (i < TM && j < TN) takeOut(acc[min(i, TM - 1) * TN + min(j, TN - 1)], kb, row + i * M, column + j * N);
#define TAKE_ROW(i) TAKE(i, 0) TAKE(i, 1) TAKE(i, 2) TAKE(i, 3)

void storeSums(int tid, int kb, int first) {
  int row = int(gl_SubgroupID) / across * (TM * M), column = first + int(gl_SubgroupID) % across * (TN * N);
  TAKE_ROW(0) TAKE_ROW(1) TAKE_ROW(2) TAKE_ROW(3)
}
