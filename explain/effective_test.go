package explain

import (
	"context"
	"errors"
	"math"
	"testing"

	"vkconv"
	"vkconv/conv"
)

// Of random weights of mean 0, the mean square of a gradient is the number of
// paths to a pixel, so the measured field must follow the counts: nothing where
// they are 0, and within the scatter of the draws elsewhere. (Branches of other
// numbers of taps would have weights of another size.)
func TestEffectiveFollowsPaths(t *testing.T) {
	// The scatter needs many draws, which one engine is enough for; another is
	// asked whether it sees the same pixels.
	for device, draws := range map[string]int{"cpu": 24, "": 2} {
		e, err := vkconv.Open(vkconv.Options{Device: device})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for _, text := range []string{"3x3 *3", "3x3 d2 *3", "[3x3 | 3x3 d3], 3x3 s2", "3x5 s2x1, 3x3 dw, [3x1 d2 | 1x3], 1x1"} {
			followsPaths(t, e, text, draws)
		}
	}
}

func followsPaths(t *testing.T, e *vkconv.Engine, text string, draws int) {
	stack, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Explain(stack, conv.Shape{1, 8, 64, 64})
	if err != nil {
		t.Fatal(err)
	}
	m, err := MeasureEffective(context.Background(), e, stack, draws, 1)
	if err != nil {
		t.Fatal(err)
	}
	if m.Rows != report.Field[0] || m.Columns != report.Field[1] {
		t.Fatalf("%s: measured %d×%d, sees %v", text, m.Rows, m.Columns, report.Field)
	}
	// Normalised by their sums, both ways.
	energy, paths := 0.0, 0.0
	for i, v := range m.Size {
		energy += v * v
		paths += report.Reads.At(i/m.Columns, i%m.Columns)
	}
	apart := 0.0
	for i, v := range m.Size {
		n := report.Reads.At(i/m.Columns, i%m.Columns)
		if (v > 0) != (n > 0) {
			t.Fatalf("%s: pixel %d,%d is on %g paths and has gradient %g", text, i/m.Columns, i%m.Columns, n, v)
		}
		apart += math.Abs(v*v/energy - n/paths)
	}
	if apart > 0.3 && draws > 10 {
		t.Errorf("%s: gradients and paths are %.2f apart, of 2", text, apart)
	}
	t.Logf("%s on %s: %.3f apart, %d of %d pixels", text, e.Name(), apart, m.Pixels, len(m.Size))
}

func TestEffectiveRefuses(t *testing.T) {
	e, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	stack, err := Parse("3x3 d1500")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := MeasureEffective(context.Background(), e, stack, 1, 1); !errors.Is(err, ErrText) {
		t.Error(err)
	}
}
