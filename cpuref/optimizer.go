package cpuref

import (
	"math"

	"vkconv/conv"
)

// StepRoundings are those inside a term of an optimizer's step: up to three
// constants, each rounded, and as many products.
const StepRoundings = 6

// SGD computes a step: parameters and velocity behind it.
func SGD[T Float](o conv.SGD, lr float64, p, v, g []T) (pNew, vNew []conv.Sum) {
	pNew, vNew = make([]conv.Sum, len(p)), make([]conv.Sum, len(p))
	for i := range p {
		p, v, g := float64(p[i]), float64(v[i]), float64(g[i])
		add := func(s *conv.Sum, scale float64) { // of the new velocity
			s.Add(scale * o.Momentum * v)
			s.Add(scale * g)
			s.Add(scale * o.WeightDecay * p)
		}
		add(&vNew[i], 1)
		s := &pNew[i]
		s.Add(p)
		if !o.Nesterov {
			add(s, -lr)
			continue
		}
		s.Add(-lr * g)
		s.Add(-lr * o.WeightDecay * p)
		add(s, -lr*o.Momentum)
	}
	return pNew, vNew
}

// Adam computes step t: parameters and moments behind it. The moments' errors and
// those of root and quotients (of which Vulkan allows 4.5 and 2.5 units in the last
// place) are carried on to the parameters.
func Adam[T Float](o conv.Adam, lr float64, t int, p, m, v, g []T) (pNew, mNew, vNew []conv.Sum) {
	o = o.WithDefaults()
	pNew, mNew, vNew = make([]conv.Sum, len(p)), make([]conv.Sum, len(p)), make([]conv.Sum, len(p))
	size, root := o.StepSize(lr, t), o.Root(t)
	const u = conv.Roundoff
	for i := range p {
		p, g := float64(p[i]), float64(g[i])
		decay, gOff := 0.0, 0.0
		if o.Decoupled {
			decay = lr * o.WeightDecay * p
		} else if o.WeightDecay > 0 {
			gOff = (math.Abs(g) + 3*math.Abs(o.WeightDecay*p)) * 2 * u
			g += o.WeightDecay * p
		}
		sm, sv := &mNew[i], &vNew[i]
		sm.Add(o.Beta1 * float64(m[i]))
		sm.Add((1 - o.Beta1) * g)
		sm.Slack = (1 - o.Beta1) * gOff
		sv.Add(o.Beta2 * float64(v[i]))
		sv.Add((1 - o.Beta2) * g * g)
		sv.Slack = (1 - o.Beta2) * (2*math.Abs(g)*gOff + gOff*gOff)

		sd := math.Sqrt(sv.Value)
		off := sv.Bound(StepRoundings)
		sdOff := max(math.Sqrt(sv.Value+off)-sd, sd-math.Sqrt(max(sv.Value-off, 0)))
		sdOff += 9 * u * (sd + sdOff)
		below := sd/root + o.Eps
		belowOff := sdOff/root + 8*u*(below+sdOff/root)
		step := size * sm.Value / below
		most := math.Inf(1)
		if belowOff < below {
			most = size * (math.Abs(sm.Value) + sm.Bound(StepRoundings)) / (below - belowOff) * (1 + 9*u)
		}
		s := &pNew[i]
		s.Add(p)
		s.Add(-decay)
		s.Add(-step)
		s.Slack = most - math.Abs(step)
	}
	return pNew, mNew, vNew
}
