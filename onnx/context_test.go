package onnx

import (
	"context"
	"errors"
	"testing"

	"vkconv"
	"vkconv/tensorio"
)

// endsAfter is a context that ends at the look after so many.
type endsAfter struct {
	context.Context
	looks int
}

func (c *endsAfter) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

// Planning stops between any two layers and leaves no memory behind; running and
// verifying stop too, and the plan stays of use.
func TestPlanCancelled(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		m, err := Decode("m", newNet().input("x", -1, 1, 4, 4).weight("w", 1, 1, 3, 3).
			node("Conv", "x w", "a").node("Sigmoid", "a", "b").node("Relu", "b", "y").output("y").bytes())
		if err != nil {
			t.Fatal(err)
		}
		feed := map[string]tensorio.Array{"x": {Shape: []int{1, 1, 4, 4}, Data: make([]float32, 16)}}
		const layers = 3
		before := e.Memory().InUse
		for after := range layers {
			if _, err := m.Plan(&endsAfter{ctx, after}, e, feed, Options{NoFusion: true}); !errors.Is(err, context.Canceled) {
				t.Errorf("after %d looks: %v", after, err)
			}
			if now := e.Memory().InUse; now != before {
				t.Errorf("after %d looks: %d bytes left behind", after, now-before)
			}
		}
		p, err := m.Plan(&endsAfter{ctx, layers}, e, feed, Options{NoFusion: true})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for after := range layers {
			if _, err := p.Run(&endsAfter{ctx, after}, feed); !errors.Is(err, context.Canceled) {
				t.Errorf("Run after %d looks: %v", after, err)
			}
			if all, err := p.Verify(&endsAfter{ctx, after}, feed); !errors.Is(err, context.Canceled) || len(all) > after {
				t.Errorf("Verify after %d looks: %d layers, %v", after, len(all), err)
			}
		}
		if _, err := p.Verify(ctx, feed); err != nil {
			t.Error(err)
		}
	})
}
