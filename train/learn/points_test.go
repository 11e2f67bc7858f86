package learn

import (
	"context"
	"testing"
)

// The weights that are kept beside the README's pictures, trained by the command:
// on held-out pictures the points are less than half as far from the object as the
// grid's, and an untrained net's are the grid's.
func TestPointsFollow(t *testing.T) {
	n, err := New(engine(t), "deformable", len(Colours), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ctx, d := context.Background(), Drawn{Seed: 1}
	_, before, _, err := Measure(ctx, n, d, 2)
	if err != nil || before != 1 {
		t.Errorf("untrained the points are %g of the grid's distance away (%v)", before, err)
	}
	if err := n.Load("../../docs/learn/weights.safetensors"); err != nil {
		t.Fatal(err)
	}
	accuracy, after, _, err := Measure(ctx, n, d, heldOut)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f %% told right, points at %.3f of the grid's distance", 100*accuracy, after)
	if after > 0.5 || accuracy < 0.95 {
		t.Errorf("%.1f %% told right, points at %.3f of the grid's distance; want 95 and at most 0.5", 100*accuracy, after)
	}
}
