package cpuref

import (
	"math"

	"vkconv/conv"
)

// CrossEntropy computes loss and gradient. With a = x − max, e = exp a and S = Σ e a
// float32 computation is off by
//
//	e     (6 + 5|a|)·u relatively: exp by 3 + 2|a| units in the last place, and a's rounding
//	S     the mean of those by e, and γ(K−1)
//	log S that, and 2⁻²¹ or 3 units in the last place (the Vulkan specification's of log)
func CrossEntropy[T Float](c conv.CrossEntropy, x, class []T) (loss, dx []conv.Sum) {
	check("x", x, c.Input())
	check("class", class, c.Places())
	loss, dx = make([]conv.Sum, len(class)), make([]conv.Sum, len(x))
	const u = conv.Roundoff
	plane := c.H * c.W
	for i := range loss {
		at := func(k int) int { return (i/plane*c.K+k)*plane + i%plane }
		most := math.Inf(-1)
		for k := range c.K {
			most = max(most, float64(x[at(k)]))
		}
		sum, off := 0.0, 0.0
		for k := range c.K {
			a := float64(x[at(k)]) - most
			sum += math.Exp(a)
			off += math.Exp(a) * (6 + 5*math.Abs(a)) * u
		}
		off = off/sum + conv.Gamma(c.K)
		t := int(class[i])
		valid := float64(class[i]) == float64(t) && t >= 0 && t < c.K
		if !valid {
			loss[i].Value = math.NaN()
		} else {
			loss[i].Add(math.Log(sum))
			loss[i].Add(-(float64(x[at(t)]) - most))
			loss[i].Slack = off*(1+off) + (8+6*math.Log(sum))*u
		}
		for k := range c.K {
			s := &dx[at(k)]
			a := float64(x[at(k)]) - most
			p := math.Exp(a) / sum
			s.Add(c.Scale() * p)
			if k == t {
				s.Add(-c.Scale())
			}
			s.Slack = c.Scale() * p * (off + (6+5*math.Abs(a)+6)*u) * (1 + off)
			if !valid {
				s.Value = math.NaN()
			}
		}
	}
	return loss, dx
}

// EntropyRoundings are those inside a term of the gradient, besides the softmax's:
// Scale and the product with it.
const EntropyRoundings = 2
