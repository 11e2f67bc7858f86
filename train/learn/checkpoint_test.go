package learn

import (
	"context"
	"errors"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// stopped is a run that was stopped in its second net, and what its checkpoint holds.
func stopped(t testing.TB, e *vkconv.Engine) (Options, map[string]tensorio.Array) {
	t.Helper()
	o := Options{Data: Drawn{3}, Name: "test", Steps: 4, Seeds: 1, Kinds: []string{"dilated", "deformable"}, State: filepath.Join(t.TempDir(), "state.npz")}
	made := 0
	o.Stop = func(int) bool { made++; return made > 6 }
	if _, err := Run(context.Background(), e, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	o.Stop = nil
	state, err := tensorio.ReadNPZ(o.State)
	if err != nil {
		t.Fatal(err)
	}
	return o, state
}

// A checkpoint that does not hold together is refused before anything is trained.
func TestDamagedCheckpoint(t *testing.T) {
	e := engine(t)
	o, state := stopped(t, e)
	steps := func(v ...int64) tensorio.Array { return tensorio.Array{Shape: []int{len(v)}, Data: v} }
	floats := func(n int) tensorio.Array { return tensorio.Array{Shape: []int{n}, Data: make([]float64, n)} }
	for _, c := range []struct {
		what, name string
		to         tensorio.Array
	}{
		{"before the first step", "net.optimizer.steps", steps(-5)},
		{"behind the last step", "net.optimizer.steps", steps(5)},
		{"two counts of steps", "net.optimizer.steps", steps(1, 2)},
		{"steps without their curve", "curve1.loss", floats(1)},
		{"a curve of too many steps", "curve0.loss", floats(5)},
		{"no look", "curve1.accuracy", floats(0)},
		{"distances of points that do not move", "curve0.distances", floats(5)},
		{"no frames", "curve1.frames", tensorio.Array{Shape: []int{0}, Data: []float32{}}},
		{"no weights", "net.look.weight", floats(3)},
	} {
		damaged := maps.Clone(state)
		damaged[c.name] = c.to
		if err := tensorio.WriteNPZ(o.State, damaged); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(context.Background(), e, o); !errors.Is(err, conv.ErrShape) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	offsets := state["net.look.conv_offset.bias"]
	if len(offsets.Data.([]float32)) == 0 {
		t.Fatal("there are no offsets")
	}
	for i := range offsets.Data.([]float32) {
		offsets.Data.([]float32)[i] = float32(math.NaN())
	}
	if err := tensorio.WriteNPZ(o.State, state); err != nil {
		t.Fatal(err)
	}
	if curves, err := Run(context.Background(), e, o); err != nil || !math.IsNaN(curves[1].Test.Distance) {
		t.Errorf("a net that came to NaN: %v", err)
	}
}

// Whatever stands in a checkpoint in place of one of its arrays is refused with an
// error of a kind that the docs name, or makes a run that can go on.
func FuzzCheckpoint(f *testing.F) {
	e, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Close() })
	o, state := stopped(f, e)
	names := slices.Sorted(maps.Keys(state))
	n, err := New(e, "deformable", 3, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(n.Close)
	f.Add(uint8(slices.Index(names, "net.optimizer.steps")), uint8(0), []byte{0xfb})
	f.Add(uint8(slices.Index(names, "curve1.accuracy")), uint8(1), []byte{})
	f.Add(uint8(slices.Index(names, "net.look.bias")), uint8(2), []byte{0, 0, 0xc0, 0x7f, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, which, kind uint8, data []byte) {
		changed, name := maps.Clone(state), names[int(which)%len(names)]
		shape := []int{len(data)}
		switch kind % 4 {
		case 0:
			v := make([]int64, len(data))
			for i, b := range data {
				v[i] = int64(int8(b))
			}
			changed[name] = tensorio.Array{Shape: shape, Data: v}
		case 1:
			v := make([]float64, len(data))
			for i, b := range data {
				v[i] = math.Exp(float64(b)*5) - 1 // up to infinity
			}
			changed[name] = tensorio.Array{Shape: shape, Data: v}
		case 2:
			v := make([]float32, len(data))
			for i, b := range data {
				v[i] = math.Float32frombits(uint32(b) << 24)
			}
			changed[name] = tensorio.Array{Shape: state[name].Shape, Data: v}
			if elements := len(v); elements != product(state[name].Shape) {
				changed[name] = tensorio.Array{Shape: shape, Data: v}
			}
		case 3:
			delete(changed, name)
		}
		if err := tensorio.WriteNPZ(o.State, changed); err != nil {
			t.Fatal(err)
		}
		known := func(err error) bool {
			return errors.Is(err, conv.ErrShape) || errors.Is(err, conv.ErrParams) || errors.Is(err, tensorio.ErrFormat)
		}
		r := runner{Options: o, engine: e}
		if err := r.load(); err != nil {
			if !known(err) {
				t.Errorf("%s: %v is of no kind that the docs name", name, err)
			}
			return
		}
		if len(r.done) > 1 {
			t.Errorf("%s: %d nets are done", name, len(r.done))
		}
		if r.state == nil {
			return
		}
		if err := n.SetState(r.state, true); err != nil {
			if !known(err) {
				t.Errorf("%s: %v is of no kind that the docs name", name, err)
			}
		} else if len(r.now.Loss) != n.Steps() || len(r.now.Accuracy) == 0 {
			t.Errorf("%s: %d losses and %d looks in %d steps", name, len(r.now.Loss), len(r.now.Accuracy), n.Steps())
		}
	})
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
