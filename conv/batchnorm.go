package conv

import "math"

// BatchNormParams are those of torch.nn.BatchNorm2d.
type BatchNormParams struct {
	Eps      float32 // added to the variance; 0 means 1e-5
	Momentum float32 // share of the batch in the running moments, at most 1; 0 means 0.1
}

// BatchNorm is a batch normalization with every number known: per channel
//
//	y = (x − mean) / √(var + Eps) · weight + bias
//
// with the moments of the batch when training, over its M = N·H·W values, the
// variance divided by M; otherwise with running ones, which training moves,
//
//	running mean ← (1 − Momentum)·running mean + Momentum·mean
//	running var  ← (1 − Momentum)·running var  + Momentum·var·M/(M−1)
//
// Source: torch.nn.BatchNorm2d; Ioffe and Szegedy 2015.
type BatchNorm struct {
	N, C, H, W    int
	Eps, Momentum float32
}

// BatchNorm checks a normalization of an input x (N×C×H×W). Errors match
// [ErrParams] or [ErrShape].
func (p BatchNormParams) BatchNorm(x Shape) (BatchNorm, error) {
	if p.Eps == 0 {
		p.Eps = 1e-5
	}
	if p.Momentum == 0 {
		p.Momentum = 0.1
	}
	if !(p.Eps > 0) || math.IsInf(float64(p.Eps), 0) {
		return BatchNorm{}, refuse(ErrParams, "eps is %g, must be a positive number", p.Eps)
	}
	if !(p.Momentum > 0 && p.Momentum <= 1) {
		return BatchNorm{}, refuse(ErrParams, "momentum is %g, must be above 0 and at most 1", p.Momentum)
	}
	if err := x.Check("input"); err != nil {
		return BatchNorm{}, err
	}
	if x[1] < 1 || x[2] < 1 || x[3] < 1 {
		return BatchNorm{}, refuse(ErrShape, "input is %v, channels, rows and columns must be at least 1", x)
	}
	return BatchNorm{x[0], x[1], x[2], x[3], p.Eps, p.Momentum}, nil
}

// CheckTraining refuses batches that have no variance: PyTorch, too, wants more
// than one value a channel. The error matches [ErrShape].
func (b BatchNorm) CheckTraining() error {
	if b.Count() < 2 {
		return refuse(ErrShape, "input is %v, which is %d values a channel; training takes at least 2", b.Input(), b.Count())
	}
	return nil
}

// Count returns the number of values of a channel, N·H·W.
func (b BatchNorm) Count() int { return b.N * b.H * b.W }

// Input returns the input's and the output's shape, N×C×H×W.
func (b BatchNorm) Input() Shape { return Shape{b.N, b.C, b.H, b.W} }

// Channels returns the shape of weight, bias and moments, 1×C×1×1.
func (b BatchNorm) Channels() Shape { return Shape{1, b.C, 1, 1} }

// NormRoundings are those inside a term of a normalized value: x − mean, 1/√(var + Eps)
// off by 2 units in the last place with half an addition in it, two products.
const NormRoundings = 8

// Normalize returns the normalized x of one channel given its moments, and the
// bound; off is how far the mean may be off, offVar the variance.
func (b BatchNorm) Normalize(x, weight, bias, mean, variance, off, offVar float64) Sum {
	d, r := x-mean, b.scale(variance)
	var s Sum
	s.Add(d * r * weight)
	s.Add(bias)
	if off > 0 || offVar > 0 {
		dOff := off + Roundoff*(math.Abs(d)+off)
		rOff := b.scale(variance-offVar) - r
		if !(rOff < math.Inf(1)) { // no digit of the variance is sure
			rOff = math.Inf(1)
		}
		s.Slack = math.Abs(weight) * ((r+rOff)*dOff + math.Abs(d)*rOff) * (1 + Gamma(NormRoundings+1))
		if weight == 0 {
			s.Slack = 0
		}
	}
	return s
}

// scale is 1/√(variance + Eps), +Inf where there is none.
func (b BatchNorm) scale(variance float64) float64 {
	if v := variance + float64(b.Eps); v > 0 {
		return 1 / math.Sqrt(v)
	}
	return math.Inf(1)
}

// Scale returns 1/√(variance + Eps).
func (b BatchNorm) Scale(variance float64) float64 { return b.scale(variance) }
