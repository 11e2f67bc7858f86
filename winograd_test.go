package vkconv_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// TestAllowWinograd checks at the door that the option, and nothing else, makes
// a layer use Winograd's algorithm, also between channels of wider tensors, that
// its results are within the algorithm's bound, and who refuses it.
func TestAllowWinograd(t *testing.T) {
	params := conv.Params{Dilation: [2]int{2, 2}, Padding: conv.Pad(2)}
	xs, ws := conv.Shape{1, 128, 28, 28}, conv.Shape{64, 128, 3, 3} // enough channels for it to pay on every driver
	p, err := params.Problem(xs, ws, true)
	if err != nil {
		t.Fatal(err)
	}
	c := convtest.Fill(rand.New(rand.NewPCG(convtest.Seed(), 1)), p)
	want := c.Want()
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		// y is a tensor of its own, then channels of a wider one.
		x, plane := tensor(t, e, xs, c.X), p.Ho*p.Wo
		y := tensor(t, e, p.Output(), make([]float32, p.Output().Len()))
		wide := tensor(t, e, conv.Shape{1, 70, 28, 28}, make([]float32, 70*plane))
		inside, err := wide.Channels(3, 67)
		if err != nil {
			t.Fatal(err)
		}
		plain := made(t, e, c, params)
		defer plain.Close()
		allowed := made(t, e, c, params, vkconv.AllowWinograd())
		defer allowed.Close()
		for l, is := range map[*vkconv.Conv2D]bool{plain: false, allowed: true} {
			if strings.Contains(l.Describe(), "Winograd") != is {
				t.Errorf("with AllowWinograd %t: %s", is, l.Describe())
			}
		}
		bounds := conv.Winograd(4).Bounds(p, c.X, c.Weight, c.Bias)
		for to, whole := range map[*vkconv.Tensor]*vkconv.Tensor{y: y, inside: wide} {
			if err := allowed.Run(ctx, to, x); err != nil {
				t.Fatal(err)
			}
			got := make([]float32, whole.Shape().Len())
			if err := whole.Download(ctx, got); err != nil {
				t.Fatal(err)
			}
			if to == inside {
				got = got[3*plane : 67*plane]
			}
			for i := range got {
				if share := conv.Share(got[i], want[i].Value, bounds[i]); share > 1 {
					t.Fatalf("element %d is %g, want %g ± %g", i, got[i], want[i].Value, bounds[i])
				}
			}
		}
		if _, err := e.NewConv2DBackward(xs, c.Weight, ws, params, vkconv.AllowWinograd()); !errors.Is(err, conv.ErrUnsupported) {
			t.Errorf("a backward pass with AllowWinograd: %v", err)
		}
		if _, err := e.NewConv2D(xs, nil, nil, ws, params, vkconv.AllowWinograd(), vkconv.Stored(conv.Float64)); !errors.Is(err, conv.ErrUnsupported) {
			t.Errorf("float64 with AllowWinograd: %v", err)
		}
	})
}

func made(t *testing.T, e *vkconv.Engine, c convtest.Case, params conv.Params, options ...vkconv.LayerOption) *vkconv.Conv2D {
	t.Helper()
	l, err := e.NewConv2D(c.Problem.Input(), c.Weight, c.Bias, c.Problem.Weight(), params, options...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
