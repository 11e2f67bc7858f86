package cpuref

import (
	"math"
	"math/bits"

	"vkconv/conv"
)

// DeformConv2D computes torchvision's deform_conv2d: v1 (Dai et al. 2017), and
// v2 with a mask (Zhu et al. 2018),
//
//	y[n,k,oy,ox] = f(bias[k] + Σ_{c,t} weight[k,c,t] · m_t · X_c(oy·sy − top + r·dy + Δy_t, ox·sx − left + s·dx + Δx_t))
//
// over the taps t = (r, s), with f the activation, where X_c(·,·) is the bilinear sample of channel
// g·C/G+c and (Δy_t, Δx_t), m_t belong to that channel's offset group. Shapes
// as [conv.Params.DeformProblem] says; mask is only read with p.Mask, bias with
// p.Bias. Errors of a float32 computation are bounded with
// [conv.SampleRoundings].
func DeformConv2D[T Float](p conv.Problem, x, offset, mask, weight, bias []T) []conv.Sum {
	check("x", x, p.Input())
	check("offset", offset, p.Offset())
	check("weight", weight, p.Weight())
	if p.Mask {
		check("mask", mask, p.MaskShape())
	}
	y := make([]conv.Sum, p.Output().Len())
	pixels := p.Ho * p.Wo
	// One unit of work is one output pixel: its samples serve all k.
	parallel(p.N*pixels, func(i int) {
		n, oy, ox := i/pixels, i%pixels/p.Wo, i%p.Wo
		samples := make([]Sample, p.C*p.Taps())
		masks := make([]float64, p.C*p.Taps())
		for c := range p.C {
			for t := range p.Taps() {
				samples[c*p.Taps()+t], masks[c*p.Taps()+t] = SampleAt(p, x, offset, mask, n, c, t, oy, ox)
			}
		}
		for k := range p.K {
			y[(n*p.K+k)*pixels+oy*p.Wo+ox] = deformAt(p, samples, masks, weight, bias, k)
		}
	})
	return y
}

// deformAt sums one output element over the samples of its pixel, C×Taps.
func deformAt[T Float](p conv.Problem, samples []Sample, masks []float64, weight, bias []T, k int) (sum conv.Sum) {
	perGroup := p.C / p.Groups
	first := k / (p.K / p.Groups) * perGroup * p.Taps()
	for i, w := range weight[k*perGroup*p.Taps():][:perGroup*p.Taps()] {
		v, f := samples[first+i], float64(w)*masks[first+i]
		sum.AddSampled(f*v.Value, f*v.Abs, f*(v.SlopeY+v.SlopeX))
	}
	if p.Bias {
		sum.Add(float64(bias[k]))
	}
	return p.Activation.Apply(sum)
}

// DeformConv2DAt computes the one element y[n,k,oy,ox] of [DeformConv2D].
func DeformConv2DAt[T Float](p conv.Problem, x, offset, mask, weight, bias []T, n, k, oy, ox int) conv.Sum {
	samples := make([]Sample, p.C*p.Taps())
	masks := make([]float64, p.C*p.Taps())
	perGroup := p.C / p.Groups
	first := k / (p.K / p.Groups) * perGroup
	for c := first; c < first+perGroup; c++ {
		for t := range p.Taps() {
			samples[c*p.Taps()+t], masks[c*p.Taps()+t] = SampleAt(p, x, offset, mask, n, c, t, oy, ox)
		}
	}
	return deformAt(p, samples, masks, weight, bias, k)
}

// SampleAt returns the bilinear sample of channel c that tap t takes for
// output pixel (oy, ox) of image n, and the value of its mask (1 without one).
func SampleAt[T Float](p conv.Problem, x, offset, mask []T, n, c, t, oy, ox int) (Sample, float64) {
	image := x[(n*p.C+c)*p.H*p.W:][:p.H*p.W]
	place := PlaceAt(p, offset, n, c, t, oy, ox)
	m := 1.0
	if p.Mask {
		group := c / (p.C / p.OffsetGroups)
		m = float64(mask[((n*p.OffsetGroups+group)*p.Taps()+t)*p.Ho*p.Wo+oy*p.Wo+ox])
	}
	return Bilinear(image, p.H, p.W, place, p.Border), m
}

// Place is a sampling position, its whole part and its fraction apart so that
// nothing is lost on large images.
type Place struct {
	Y, X   int     // pixel above and left
	Fy, Fx float64 // fractions in [0, 1]; NaN where the offset is NaN
}

// PlaceAt returns where tap t of output pixel (oy, ox) samples channel c:
// whole part base + ⌊Δ⌋, fraction Δ − ⌊Δ⌋.
func PlaceAt[T Float](p conv.Problem, offset []T, n, c, t, oy, ox int) Place {
	at := offsetAt(p, n, c, t, oy, ox)
	y, fy := split(oy*p.StrideY-p.Pad.Top+t/p.S*p.DilationY, float64(offset[at]))
	x, fx := split(ox*p.StrideX-p.Pad.Left+t%p.S*p.DilationX, float64(offset[at+p.Ho*p.Wo]))
	return Place{y, x, fy, fx}
}

// offsetAt returns where in the offset tensor Δy of tap t of channel c is for an
// output pixel; Δx is a plane behind it.
func offsetAt(p conv.Problem, n, c, t, oy, ox int) int {
	group := c / (p.C / p.OffsetGroups)
	return ((n*p.OffsetGroups+group)*p.Taps()+t)*2*p.Ho*p.Wo + oy*p.Wo + ox
}

const far = 1 << (30 + bits.UintSize/64) // beyond any image

// split returns the whole part and the fraction of base + delta. Offsets beyond
// ±2³¹ (where an int has 32 bits ±2³⁰), infinite ones too, are clamped there:
// outside any image all the same.
func split(base int, delta float64) (int, float64) {
	if math.IsNaN(delta) {
		return base, delta
	}
	delta = min(max(delta, -far), far)
	floor := math.Floor(delta)
	return base + int(floor), delta - floor
}

// Sample is a bilinear sample and what its error and its gradients need.
type Sample struct {
	Value          float64
	Abs            float64 // the same with every pixel taken absolutely
	Dy, Dx         float64 // derivatives by the position
	DyAbs, DxAbs   float64 // the same with every pixel taken absolutely
	SlopeY, SlopeX float64 // Σ|·| of the pixel differences in Dy, Dx: how fast Value can change
	Twist          float64 // |∂²Value/∂y∂x|: how fast Dy changes with x, and Dx with y
	TwistAbs       float64 // the same with every pixel taken absolutely
}

// Bilinear samples an H×W image, at its edge as the border says. A NaN position
// gives a NaN sample, as in torchvision. At whole pixels the derivatives are
// those towards larger y and x, as in torchvision.
func Bilinear[T Float](image []T, h, w int, at Place, border conv.Border) Sample {
	pixel := func(y, x int) float64 {
		i := neighbour(y, x, h, w, at, border)
		if i < 0 {
			return 0
		}
		return float64(image[i])
	}
	v00, v01 := pixel(at.Y, at.X), pixel(at.Y, at.X+1)
	v10, v11 := pixel(at.Y+1, at.X), pixel(at.Y+1, at.X+1)
	ly, lx := at.Fy, at.Fx
	hy, hx := 1-ly, 1-lx
	abs := math.Abs
	s := Sample{
		Value:  hy*hx*v00 + hy*lx*v01 + ly*hx*v10 + ly*lx*v11,
		Abs:    hy*hx*abs(v00) + hy*lx*abs(v01) + ly*hx*abs(v10) + ly*lx*abs(v11),
		Dy:     hx*(v10-v00) + lx*(v11-v01),
		Dx:     hy*(v01-v00) + ly*(v11-v10),
		DyAbs:  hx*(abs(v10)+abs(v00)) + lx*(abs(v11)+abs(v01)),
		DxAbs:  hy*(abs(v01)+abs(v00)) + ly*(abs(v11)+abs(v10)),
		SlopeY: hx*abs(v10-v00) + lx*abs(v11-v01),
		SlopeX: hy*abs(v01-v00) + ly*abs(v11-v10),
		Twist:  abs(v11 - v10 - v01 + v00),

		TwistAbs: abs(v11) + abs(v10) + abs(v01) + abs(v00),
	}
	if at.Y == -1 && ly == 0 || at.X == -1 && lx == 0 {
		// On the border at −1, even where the pixel at 0 is infinite or the other
		// position is NaN; the fraction is exact there, so nothing slopes.
		s.Value, s.Abs, s.SlopeY, s.SlopeX = 0, 0, 0, 0
	}
	return s
}

// neighbour returns the place in an H×W image of pixel (y, x), one of the four
// around a position, or −1 where it does not count.
func neighbour(y, x, h, w int, at Place, border conv.Border) int {
	if border == conv.BorderCut {
		if at.Y < 0 || at.Y >= h || at.X < 0 || at.X >= w {
			return -1
		}
		y, x = min(y, h-1), min(x, w-1)
	}
	if y < 0 || y >= h || x < 0 || x >= w {
		return -1
	}
	return y*w + x
}
