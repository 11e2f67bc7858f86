//go:build cgo

package kernels

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// ticking is a clock that moves on by a second each time it is asked: a budget in
// seconds is one in looks at the clock, however fast the machine is.
func ticking() func() time.Time {
	var mu sync.Mutex
	now := time.Unix(0, 0)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}

// tuner measures for so many looks at the clock; the log says what went wrong.
func tuner(d *gpu.Device, looks int) (*Tuner, *bytes.Buffer) {
	var said bytes.Buffer
	t := NewTuner(d, time.Duration(looks)*time.Second, slog.New(slog.NewTextHandler(&said, nil)))
	t.now = ticking()
	return t, &said
}

// refusing is a tuner that must not measure.
func refusing(t *testing.T, d *gpu.Device) *Tuner {
	r, _ := tuner(d, 1)
	r.now = func() time.Time {
		t.Error("it was measured again")
		return time.Unix(0, 0)
	}
	return r
}

func smallCase(t *testing.T, deformable bool) convtest.Case {
	t.Helper()
	params, x, w := conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}}, conv.Shape{2, 8, 9, 8}, conv.Shape{12, 8, 3, 3}
	p, err := params.Problem(x, w, true)
	if err == nil && deformable {
		p, err = params.DeformProblem(conv.Deform{Mask: true}, x, w, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := convtest.Fill(rand.New(rand.NewPCG(1, 2)), p)
	c.Name = convtest.Describe(p)
	return c
}

// tuned computes a case by a plan that t tunes, and says how it was chosen.
func tuned(d *gpu.Device, t *Tuner, c convtest.Case, y []float32) (Choice, error) {
	f, err := newForward(makerFor(d, Tuned(context.Background(), t)), c.Problem, c.Weight, c.Bias)
	if err != nil {
		return Choice{}, err
	}
	return f.choices[0], runForward(d, f, c, y)
}

// TestTuned has devices of its own, which keep files.
func TestTuned(t *testing.T) {
	gputest.DevicesWith(t, gpu.Options{}, func(t *testing.T, d *gpu.Device) {
		t.Run("Kept", func(t *testing.T) { testTunedKept(t, d) })
		t.Run("AtOnce", func(t *testing.T) { testTunedAtOnce(t, d) })
	})
}

// testTunedKept: what is measured is kept, found again by another tuner, also of another
// engine, and right; what was damaged or makes no sense is measured anew.
func testTunedKept(t *testing.T, d *gpu.Device) {
	for _, deformable := range []bool{false, true} {
		c := smallCase(t, deformable)
		var first, now Choice
		right := func(by *Tuner) Choice {
			t.Helper()
			convtest.One(t, c, func(c convtest.Case, y, _, _, _, _, _ []float32) (err error) {
				now, err = tuned(d, by, c, y)
				return err
			})
			return now
		}
		measuring, said := tuner(d, 20)
		if first = right(measuring); first.By != ByMeasured || first.Candidates[first.Chosen].Runs == 0 || said.Len() > 0 {
			t.Fatalf("%v; log: %s", first, said)
		}
		t.Log(first)
		for name, by := range map[string]*Tuner{"the same": measuring, "another": refusing(t, d)} {
			if got := right(by); got.By != ByKept || got.Chosen != first.Chosen || !slices.Equal(got.Candidates, first.Candidates) {
				t.Errorf("%s tuner: %v", name, got)
			}
		}
		file := d.CacheFile("tuned", keyFor(first, c.Problem))
		whole, err := os.ReadFile(file.Path())
		if err != nil {
			t.Fatal(err)
		}
		for what, bad := range map[string][]byte{"cut short": whole[:len(whole)-7], "empty": {}, "text": []byte(strings.Repeat("no choice ", 30))} {
			if err := os.WriteFile(file.Path(), bad, 0o644); err != nil {
				t.Fatal(err)
			}
			again, _ := tuner(d, 2)
			if got := right(again); got.By != ByMeasured {
				t.Errorf("%s: %v", what, got)
			}
			if got := right(refusing(t, d)); got.By != ByKept {
				t.Errorf("%s: not kept anew: %v", what, got)
			}
		}
		file.Replace([]byte(`{"chosen":"a kernel of old"}`))
		again, said := tuner(d, 2)
		if got := right(again); got.By != ByMeasured || !strings.Contains(said.String(), "ignored") {
			t.Errorf("an unknown kernel: %v; log: %s", got, said)
		}
		// Whichever is kept is taken, here the one that the cost model likes least.
		last := first
		for i, m := range last.Candidates {
			if m.Unfit == "" && m.Cost > last.Candidates[last.Chosen].Cost {
				last.Chosen = i
			}
		}
		last.Candidates = slices.Clone(last.Candidates)
		last.Candidates[last.Chosen].Time, last.Candidates[last.Chosen].Runs = 1, 1
		file.Replace(last.encode())
		if got := right(refusing(t, d)); got.Chosen != last.Chosen {
			t.Errorf("kept was %v, taken %v", last, got)
		}
	}
}

// keyFor is the key of a problem's forward pass.
func keyFor(c Choice, p conv.Problem) []byte {
	key := keyOf(question("forward", p, false), c.Candidates)
	return key[:]
}

// testTunedAtOnce: of many engines' tuners and goroutines all plan the same, and leave
// nothing behind but the file.
func testTunedAtOnce(t *testing.T, d *gpu.Device) {
	c := smallCase(t, false)
	c.Problem.N, c.X = 1, c.X[:len(c.X)/2] // another shape
	const many = 6
	var all sync.WaitGroup
	var got [many]Choice
	var errs [many]error
	one, _ := tuner(d, 12)
	for i := range many {
		by := one
		if i%2 == 0 {
			by, _ = tuner(d, 12)
		}
		all.Go(func() { got[i], errs[i] = tuned(d, by, c, make([]float32, c.Problem.Output().Len())) })
	}
	all.Wait()
	for i := range got {
		if errs[i] != nil || got[i].Chosen != got[0].Chosen {
			t.Errorf("%v, %v; the first chose %v", got[i], errs[i], got[0])
		}
	}
	path := d.CacheFile("tuned", keyFor(got[0], c.Problem)).Path()
	there, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || !slices.Contains(there, path) || slices.ContainsFunc(there, func(f string) bool { return strings.HasSuffix(f, ".tmp") }) {
		t.Errorf("the folder holds %v (%v)", there, err)
	}
}

// TestTunedNowhere: where nothing can be kept, a tuner remembers; where there is no
// memory to measure in, the cost model chooses; and a context ends it.
func TestTunedNowhere(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) { // nothing is kept there
		c := smallCase(t, false)
		y := make([]float32, c.Problem.Output().Len())
		by, _ := tuner(d, 8)
		first, err := tuned(d, by, c, y)
		if err != nil || first.By != ByMeasured {
			t.Fatal(first, err)
		}
		by.now = refusing(t, d).now
		if again, err := tuned(d, by, c, y); err != nil || again.By != ByKept || again.Chosen != first.Chosen {
			t.Errorf("%v, %v", again, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		other, _ := tuner(d, 8)
		if _, err := newForward(makerFor(d, Tuned(ctx, other)), c.Problem, c.Weight, c.Bias); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		want := 0
		_, calls := gputest.OutOfMemory.At(1<<30, func() { _, err = tuned(d, other, c, y) })
		if err != nil {
			t.Fatal(err)
		}
		for nth := 1; nth <= calls; nth++ { // whatever fails: another kernel, the guess, or the error
			third, _ := tuner(d, 4)
			var got Choice
			gputest.OutOfMemory.At(nth, func() { got, err = tuned(d, third, c, y) })
			if err != nil && !errors.Is(err, gpu.ErrOutOfMemory) {
				t.Errorf("call %d: %v", nth, err)
			}
			if err == nil && got.Note != "" {
				want++
			}
		}
		t.Logf("%d calls failed in turn, %d of them left it to the cost model", calls, want)
		empty := c
		empty.Problem.N = 0
		if got, err := newForward(makerFor(d, Tuned(t.Context(), refusing(t, d))), empty.Problem, c.Weight, c.Bias); err != nil || got.choices[0].By != ByModel {
			t.Errorf("an empty batch: %v, %v", got.choices, err)
		} else {
			got.Close()
		}
	})
}

// TestTunedWinograd: with it allowed there is more to choose from, and that is
// another question.
func TestTunedWinograd(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		c := smallCase(t, false)
		by, _ := tuner(d, 2)
		plain, err1 := newForward(makerFor(d, Tuned(t.Context(), by)), c.Problem, c.Weight, c.Bias)
		allowed, err2 := newForward(makerFor(d, Tuned(t.Context(), by), AllowWinograd), c.Problem, c.Weight, c.Bias)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		defer allowed.Close()
		if a, b := plain.choices[0], allowed.choices[0]; len(b.Candidates) != len(a.Candidates)+2 || b.By != ByMeasured {
			t.Errorf("%v, and with Winograd %v", a, b)
		}
	})
}

// TestTunedGradients measures every tile, keeps what it found, and is right.
func TestTunedGradients(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for _, c := range []struct {
			case_ convtest.Case
			of    []string
		}{{smallCase(t, false), []string{"dx", "dweight"}}, {strided(t), []string{"dx", "dweight"}}, {smallCase(t, true), []string{"doffset", "dweight"}}} {
			k := c.case_
			by, said := tuner(d, 6)
			for _, want := range []Reason{ByMeasured, ByKept} {
				convtest.OneBackward(t, k, func(k convtest.Case, g convtest.Grads, dy []float32) error {
					b, err := newBackward(makerFor(d, Tuned(t.Context(), by)), k.Problem, k.Weight)
					if err != nil {
						return err
					}
					defer b.Close()
					var of []string
					for _, c := range b.Choices() {
						of = append(of, c.Of)
						// A mirrored dx is asked for by the plan that tells what tiles there are, too.
						if c.By == ByModel || want == ByKept && c.By != ByKept || want == ByMeasured && c.By != ByMeasured && c.Of != "dx" {
							t.Errorf("%v, want it %v", c, want)
						}
					}
					if !slices.Equal(of, c.of) {
						t.Errorf("choices of %v, want %v", of, c.of)
					}
					return runGradients(d, [4][]float32{k.X, k.Offset, k.Mask, dy}, wanted(k.Problem, g), func(s *gpu.Stream, g Grads, t [4]Tensor) error {
						return b.RecordBackward(s, g, t[0], t[1], t[2], t[3])
					})
				}, map[string]float64{})
				by.now = refusing(t, d).now
			}
			if said.Len() > 0 {
				t.Errorf("log: %s", said)
			}
		}
	})
}

// strided is a case whose gradient by the input has tiles of its own.
func strided(t *testing.T) convtest.Case {
	t.Helper()
	p, err := conv.Params{Stride: [2]int{2, 2}, Padding: conv.Pad(1)}.Problem(conv.Shape{1, 5, 9, 8}, conv.Shape{9, 5, 3, 3}, false)
	if err != nil {
		t.Fatal(err)
	}
	return convtest.Fill(rand.New(rand.NewPCG(3, 4)), p)
}

// TestEveryTile forces each tile of the gradients in turn.
func TestEveryTile(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		cases := []convtest.Case{strided(t), smallCase(t, true), smallCase(t, false)}
		for _, of := range tiledGradients {
			_, tiles, err := matrix{groups: 1, rows: 4, columns: 4, value: 1}.tiles(traitsOf(d.Info()), of.prefix)
			if err != nil {
				t.Fatal(err)
			}
			for _, tile := range tiles {
				ran := 0
				for _, c := range cases {
					if tile.Unfit != "" || c.Problem.Deformable() != strings.HasPrefix(of.prefix, "deform") {
						continue
					}
					m := makerFor(d)
					m.forced = map[string]string{of.prefix: tile.Name}
					convtest.OneBackward(t, c, func(c convtest.Case, g convtest.Grads, dy []float32) error {
						plan, err := gradients(m, c, wanted(c.Problem, g), dy)
						if err == nil && strings.Contains(plan.Describe(), tile.Name) {
							ran++
						}
						return err
					}, map[string]float64{})
				}
				if ran == 0 && tile.Unfit == "" {
					t.Errorf("%s was not run", tile.Name)
				}
			}
		}
	})
}

// A gradient by the input that is a convolution itself is one kernel of one pass, also
// where a device with many cores would share its few tiles out.
func TestMirroredOfOnePass(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		m := makerFor(d)
		m.traits.Software, m.traits.SubgroupOps = false, false
		p, err := conv.Params{Padding: conv.Pad(1)}.Problem(conv.Shape{1, 512, 7, 7}, conv.Shape{16, 512, 3, 3}, false)
		if err != nil {
			t.Fatal(err)
		}
		of, _ := mirrored(p)
		for _, allowed := range []algorithms{onePass, direct} {
			w, choice, err := m.forwardWay("dx", of, nil, nil, allowed)
			if err != nil || allowed == onePass && w.launch.parts > 1 {
				t.Errorf("%v in %d parts, %v", choice, w.launch.parts, err)
			}
		}
	})
}
