package cpuref

import (
	"math"

	"vkconv/conv"
)

// BatchNormTrained is what a training pass of batch normalization computes.
type BatchNormTrained struct {
	Y                       []conv.Sum
	Mean, Var               []conv.Sum // of the batch, Var divided by M
	RunningMean, RunningVar []conv.Sum // moved from what they were
}

// MomentRoundings bound the errors of moments and running moments.
const MomentRoundings = conv.QuotientRoundings

// BatchNormTraining computes y and the moments, and moves the running ones. Errors
// of y in float32 are bounded with [conv.NormRoundings], others with [MomentRoundings].
//
// Those of y come from the moments besides. With γ for the sums' relative error
// and M values in a channel,
//
//	mean  off by  εm = γ(M−1+5)·Σ|x|/M
//	x − mean, by  δ  = εm + u·(|x − mean| + εm)
//	var,      by  εv = Σ(2|x − mean|·δ + δ²)/M + γ(M−1+6)·Σ(|x − mean| + δ)²/M
func BatchNormTraining[T Float](b conv.BatchNorm, x, weight, bias, runningMean, runningVar []T) BatchNormTrained {
	check("x", x, b.Input())
	n := func() []conv.Sum { return make([]conv.Sum, b.C) }
	out := BatchNormTrained{make([]conv.Sum, len(x)), n(), n(), n(), n()}
	m := float64(b.Count())
	parallel(b.C, func(c int) {
		mean, variance := &out.Mean[c], &out.Var[c]
		overChannel(b, c, func(i int) { mean.Add(float64(x[i]) / m) })
		off := mean.Bound(MomentRoundings)
		var grown float64
		overChannel(b, c, func(i int) {
			d := math.Abs(float64(x[i]) - mean.Value)
			variance.Add(d * d / m)
			e := off + conv.Roundoff*(d+off)
			variance.Slack += (2*d*e + e*e) / m
			grown += (d + e) * (d + e) / m
		})
		variance.Slack += conv.Gamma(b.Count()+5)*grown - conv.Gamma(b.Count()-1+MomentRoundings)*variance.Abs
		variance.Slack = max(variance.Slack, 0)
		offVar := variance.Bound(MomentRoundings)
		overChannel(b, c, func(i int) {
			out.Y[i] = b.Normalize(float64(x[i]), float64(weight[c]), float64(bias[c]), mean.Value, variance.Value, off, offVar)
		})
		p := float64(b.Momentum)
		out.RunningMean[c] = moved(float64(runningMean[c]), mean.Value, off, p)
		out.RunningVar[c] = moved(float64(runningVar[c]), variance.Value*m/(m-1), offVar*m/(m-1), p)
	})
	return out
}

// moved is a running moment a share p of the way to a batch's, which is off by off.
func moved(running, batch, off, p float64) (s conv.Sum) {
	s.Add((1 - p) * running)
	s.Add(p * batch)
	s.Slack = p * off * (1 + conv.Gamma(MomentRoundings+1))
	return s
}

// BatchNorm computes y with given moments. Errors in float32 are bounded with
// [conv.NormRoundings].
func BatchNorm[T Float](b conv.BatchNorm, x, weight, bias, mean, variance []T) []conv.Sum {
	check("x", x, b.Input())
	y := make([]conv.Sum, len(x))
	parallel(b.C, func(c int) {
		overChannel(b, c, func(i int) {
			y[i] = b.Normalize(float64(x[i]), float64(weight[c]), float64(bias[c]), float64(mean[c]), float64(variance[c]), 0, 0)
		})
	})
	return y
}

// BatchNormBackward differentiates training, given the moments of the batch. With
// x̂ = (x − mean)·r and r = 1/√(var + Eps),
//
//	dbias = Σ dy    dweight = Σ dy·x̂    dx = weight·r·(dy − dbias/M − x̂·dweight/M)
//
// Errors in float32 are bounded with [BatchNormBackwardRoundings]; for dx the
// errors of the two sums come besides.
func BatchNormBackward[T Float](b conv.BatchNorm, x, dy, weight, mean, variance []T) Gradients {
	check("x", x, b.Input())
	check("dy", dy, b.Input())
	g := Gradients{X: make([]conv.Sum, len(x)), Weight: make([]conv.Sum, b.C), Bias: make([]conv.Sum, b.C)}
	m := float64(b.Count())
	parallel(b.C, func(c int) {
		r := b.Scale(float64(variance[c]))
		xhat := func(i int) float64 { return (float64(x[i]) - float64(mean[c])) * r }
		dw, db := &g.Weight[c], &g.Bias[c]
		overChannel(b, c, func(i int) {
			dw.Add(float64(dy[i]) * xhat(i))
			db.Add(float64(dy[i]))
		})
		dwOff, dbOff := dw.Bound(BatchNormBackwardRoundings), db.Bound(BatchNormBackwardRoundings)
		scale := float64(weight[c]) * r
		overChannel(b, c, func(i int) {
			s := &g.X[i]
			s.Add(scale * float64(dy[i]))
			s.Add(-scale * db.Value / m)
			s.Add(-scale * xhat(i) * dw.Value / m)
			s.Slack = math.Abs(scale) * (dbOff + math.Abs(xhat(i))*dwOff) / m * (1 + conv.Gamma(BatchNormBackwardRoundings+2))
		})
	})
	return g
}

// BatchNormTrainedBackward is BatchNormBackward with the moments of a training pass
// as float32 has them, off by εm and εv at most: r is off by ρ = (v − εv + Eps)^−½ − r,
// each x̂ by ξ = (r + ρ)·εm + |x − mean|·ρ, dweight by ω = Σ|dy|·ξ, and dx by
//
//	|weight|·(ρ·(|dy| + |dbias|/M + |x̂·dweight|/M) + (r + ρ)·(ξ·|dweight| + (|x̂| + ξ)·ω)/M)
//
// besides what each is off by with exact moments.
func BatchNormTrainedBackward[T Float](b conv.BatchNorm, x, dy, weight []T, t BatchNormTrained) Gradients {
	double := func(in []T) []float64 {
		out := make([]float64, len(in))
		for i, v := range in {
			out[i] = float64(v)
		}
		return out
	}
	exact := func(in []conv.Sum) []float64 {
		out := make([]float64, len(in))
		for i, v := range in {
			out[i] = v.Value
		}
		return out
	}
	g := BatchNormBackward(b, double(x), double(dy), double(weight), exact(t.Mean), exact(t.Var))
	m, more := float64(b.Count()), 1+conv.Gamma(BatchNormBackwardRoundings+2)
	parallel(b.C, func(c int) {
		off, offVar := t.Mean[c].Bound(MomentRoundings), t.Var[c].Bound(MomentRoundings)
		r := b.Scale(t.Var[c].Value)
		rho := b.Scale(t.Var[c].Value-offVar) - r
		if !(rho < math.Inf(1)) { // no digit of the variance is sure
			rho = math.Inf(1)
		}
		distance := func(i int) float64 { return math.Abs(float64(x[i]) - t.Mean[c].Value) }
		xi := func(i int) float64 { return (r+rho)*off + distance(i)*rho }
		var omega float64
		overChannel(b, c, func(i int) { omega += math.Abs(float64(dy[i])) * xi(i) })
		g.Weight[c].Slack += omega * more
		dw, db := math.Abs(g.Weight[c].Value), math.Abs(g.Bias[c].Value)
		overChannel(b, c, func(i int) {
			xhat := distance(i) * r
			g.X[i].Slack += math.Abs(float64(weight[c])) * more *
				(rho*(math.Abs(float64(dy[i]))+db/m+xhat*dw/m) + (r+rho)*(xi(i)*dw+(xhat+xi(i))*omega)/m)
		})
	})
	return g
}

// BatchNormBackwardRoundings are those inside a term: r twice (5 each), x − mean,
// the quotient by M (5), and four products.
const BatchNormBackwardRoundings = 20

// overChannel calls f with every element of a channel.
func overChannel(b conv.BatchNorm, c int, f func(i int)) {
	plane := b.H * b.W
	for n := range b.N {
		for i := range plane {
			f((n*b.C+c)*plane + i)
		}
	}
}
