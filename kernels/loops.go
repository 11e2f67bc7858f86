package kernels

import (
	"fmt"
	"math"

	"vkconv/conv"
	"vkconv/gpu"
)

// llvmpipe ends every loop of an invocation once they have gone round this
// often, all of them together, and goes on without a word: gallivm's
// LP_MAX_TGSI_LOOP_ITERATIONS, which keeps its compiler from hanging. A
// reduction longer than that would lose terms, and a sum of so many terms has
// a bound so wide that the loss may hide in it. So it is refused.
const llvmpipeLoops = 65535

// loops is about how often the loops of one invocation go round, an upper bound.
func loops(p conv.Problem, v variant, s shape) float64 {
	f := func(n int) float64 { return float64(n) }
	cg, taps := p.C/p.Groups, f(ceil(p.R, s.rows)*ceil(p.S, s.taps))
	rows := f(p.R)
	switch v.kind {
	case pointwise:
		return f(ceil(cg, s.channels))
	case depthwise:
		return f(longestStrip + p.R)
	case sharedProduct, sharedDeform: // to mark the taps, find the next one, and multiply depth channels
		segments := max(1, p.OffsetGroups/p.Groups)
		steps := ceil(ceil(cg, segments), v.depth)
		return f(2*p.Taps()) + f(p.Taps()*segments)*f(steps)*f(1+v.depth)
	case matrixProduct, matrixDeform: // to load depth channels, and to multiply them
		segments := max(1, p.OffsetGroups/p.Groups)
		steps := ceil(ceil(cg, segments), v.depth)
		load := ceil(v.depth*s.block, int(v.localSize)) + ceil(v.depth*v.columns, int(v.localSize))
		return f(p.Taps()*segments) * (1 + f(steps)*f(1+load+v.depth))
	case deform:
		return rows + taps*f(1+cg+max(1, p.OffsetGroups/p.Groups)+1)
	case deformDepthwise:
		return rows + taps
	}
	return rows + taps*f(1+ceil(cg, s.channels))
}

// inputLoops is the same of the gradient by the input.
func inputLoops(p conv.Problem) float64 {
	// meets counts along one axis the pairs of a place that shows a pixel and a
	// tap that reads it there: those of the pixel itself, of the padding before,
	// and of the padding behind.
	meets := func(n, before, behind, kernel, dilation, stride, out int) float64 {
		pairs := float64(ceil(kernel, stride/gcd(stride, dilation)))
		if p.Mode == conv.Zeros {
			return pairs
		}
		padding := before + behind
		if padding > 1<<20/kernel {
			return math.Inf(1)
		}
		for j := range padding {
			v := j
			if j >= before {
				v += n
			}
			for r := range kernel {
				if d := v - r*dilation; d >= 0 && d%stride == 0 && d/stride < out {
					pairs++
				}
			}
		}
		return pairs
	}
	y := meets(p.H, p.Pad.Top, p.Pad.Bottom, p.R, p.DilationY, p.StrideY, p.Ho)
	x := meets(p.W, p.Pad.Left, p.Pad.Right, p.S, p.DilationX, p.StrideX, p.Wo)
	places := 1.0
	switch p.Mode {
	case conv.Reflect, conv.Circular:
		places = 9
	case conv.Replicate:
		places = float64(1+p.Pad.Top+p.Pad.Bottom) * float64(1+p.Pad.Left+p.Pad.Right)
	}
	return y*x*float64(p.K/p.Groups) + places*float64(1+p.R+p.Taps())
}

// checkLoops refuses what the device's driver would cut short.
func checkLoops(t traits, n float64) error {
	if t.Loops == 0 || n <= float64(t.Loops) {
		return nil
	}
	return fmt.Errorf("%w: the sum of one output takes about %.0f rounds of a loop, this device's driver ends loops after %d", gpu.ErrTooLarge, n, t.Loops)
}
