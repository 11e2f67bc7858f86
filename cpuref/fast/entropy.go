package fast

import (
	"context"
	"math"

	"vkconv/conv"
)

// CrossEntropy is softmax and cross-entropy: see [vkconv/cpuref.CrossEntropy].
type CrossEntropy struct {
	plain
	pool *Pool
	c    conv.CrossEntropy
}

// NewCrossEntropy makes the plan.
func NewCrossEntropy(pool *Pool, c conv.CrossEntropy) *CrossEntropy {
	return &CrossEntropy{"plain Go, an image at a time, in float64", pool, c}
}

// Run computes loss and, unless it is nil, the gradient dx.
func (e *CrossEntropy) Run(ctx context.Context, loss, dx, x, class []float32) error {
	c, plane := e.c, e.c.H*e.c.W
	if err := lengths(c.Places().Len(), "loss", loss, "class", class); err != nil {
		return err
	}
	if err := lengths(c.Input().Len(), "x", x); err != nil {
		return err
	}
	if dx != nil {
		if err := lengths(c.Input().Len(), "dx", dx); err != nil {
			return err
		}
	}
	return e.pool.each(ctx, c.N, func(n int) {
		for i := n * plane; i < (n+1)*plane; i++ {
			first := n*c.K*plane + i - n*plane
			most := x[first]
			for k := 1; k < c.K; k++ {
				most = max(most, x[first+k*plane])
			}
			sum := 0.0
			for k := range c.K {
				sum += math.Exp(float64(x[first+k*plane] - most))
			}
			t, scale := int(class[i]), c.Scale()
			if float32(t) != class[i] || t < 0 || t >= c.K {
				loss[i], scale = float32(math.NaN()), math.NaN()
			} else {
				loss[i] = float32(math.Log(sum) - float64(x[first+t*plane]-most))
			}
			if dx == nil {
				continue
			}
			for k := range c.K {
				g := math.Exp(float64(x[first+k*plane]-most)) / sum
				if k == t {
					g--
				}
				dx[first+k*plane] = float32(scale * g)
			}
		}
	})
}
