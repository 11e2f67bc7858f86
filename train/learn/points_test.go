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
	before, _, err := Measure(ctx, n, d, Test, 2)
	if err != nil || before.Distance != 1 || before.Pattern != 1 {
		t.Errorf("untrained it is %v (%v)", before, err)
	}
	if err := n.Load("../../docs/learn/weights.safetensors"); err != nil {
		t.Fatal(err)
	}
	after, _, err := Measure(ctx, n, d, Test, tested)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f %% told right, points at %.3f of the grid's distance, standing still at %.3f", 100*after.Accuracy, after.Distance, after.Pattern)
	if after.Distance > 0.5 || after.Distance > 0.95*after.Pattern || after.Accuracy < 0.95 {
		t.Errorf("%v; want 95 %%, at most 0.5, and nearer than standing still", after)
	}
}
