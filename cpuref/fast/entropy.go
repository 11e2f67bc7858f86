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
	if err := lengths(e.c.Places().Len(), named{"loss", loss}, named{"class", class}); err != nil {
		return err
	}
	if err := lengths(e.c.Input().Len(), named{"x", x}); err != nil {
		return err
	}
	if err := given(e.c.Input().Len(), named{"dx", dx}); err != nil {
		return err
	}
	return each(ctx, e.pool, &entropyRuns, e.c.N, entropyRun{e.c, loss, dx, x, class})
}

// entropyRun is a run of one.
type entropyRun struct {
	c                  conv.CrossEntropy
	loss, dx, x, class []float32
}

var entropyRuns freeList[*entropyRun]

func (r *entropyRun) tile(n int, _ *job, _ *scratch) {
	c, plane, loss, dx, x, class := r.c, r.c.H*r.c.W, r.loss, r.dx, r.x, r.class
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
}
