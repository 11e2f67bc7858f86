//go:build cgo

package vkconv_test

import (
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"vkconv"
	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
	"vkconv/shaders"
)

// tinyChain is a chain of layers that take no time to speak of; run queues the
// first n of them.
type tinyChain struct {
	layers  []*vkconv.Conv2D
	tensors []*vkconv.Tensor
}

func newTinyChain(t testing.TB, e *vkconv.Engine, x conv.Shape, n int) *tinyChain {
	t.Helper()
	c := &tinyChain{}
	w := conv.Shape{x[1], x[1], 3, 3}
	for i := range n + 1 {
		a, err := e.TensorOf(x, sines(x.Len()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.Free)
		c.tensors = append(c.tensors, a)
		if i == n {
			break
		}
		l, err := e.NewConv2D(x, sines(w.Len()), sines(w[0]), w, conv.Params{Padding: conv.Pad(1)})
		if err != nil {
			t.Fatal(err)
		}
		c.layers = append(c.layers, l)
	}
	return c
}

func (c *tinyChain) run(t testing.TB, n int) {
	for i, l := range c.layers[:n] {
		if err := l.Run(ctx, c.tensors[i+1], c.tensors[i]); err != nil {
			t.Fatal(err)
		}
	}
}

// A steady call makes the same number of calls into C whatever the layer's size, and
// so does each of a chain, which is one submission.
func TestCallsIntoC(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		if !e.OnGPU() {
			return
		}
		var counts []int64
		for _, x := range []conv.Shape{{1, 1, 1, 1}, {1, 8, 8, 8}, {3, 20, 31, 17}} {
			c := newTinyChain(t, e, x, 10)
			c.run(t, 10)
			for _, n := range []int{1, 2, 10} {
				if err := e.Wait(ctx); err != nil {
					t.Fatal(err)
				}
				c.run(t, 1) // opens the stream
				_, before, _ := e.Queued()
				calls := runtime.NumCgoCall()
				c.run(t, n)
				counts = append(counts, (runtime.NumCgoCall()-calls)/int64(n))
				if queued, after, _ := e.Queued(); queued != n+1 || after != before {
					t.Errorf("of a chain of %d and one, %d wait in the open stream", n, queued)
				}
			}
		}
		if slices.Min(counts) != slices.Max(counts) || counts[0] > 2 {
			t.Errorf("calls into C for a layer, by size and chain: %d", counts)
		}
	})
}

// What a tiny layer costs beside a dispatch that does nothing, there and back, in
// turns: medians in µs, the tiny layer's ratio, its calls into C and allocations.
func BenchmarkTiny(b *testing.B) {
	for _, i := range gputest.List(b) {
		b.Run(i.Driver, func(b *testing.B) {
			name := strconv.Itoa(i.Index)
			e, err := vkconv.Open(vkconv.Options{Device: name})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			d, err := gpu.Open(gpu.Options{Device: name})
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			m, err := shaders.Get("peak_empty")
			if err != nil {
				b.Fatal(err)
			}
			pipe, err := d.Pipeline(&gpu.Module{Name: m.Name, Code: m.Code}, []gpu.Constant{{ID: 0, Value: 8}})
			if err != nil {
				b.Fatal(err)
			}
			s, err := d.NewStream()
			if err != nil {
				b.Fatal(err)
			}
			s.Discard()
			empty := func() {
				if err := s.Restart(); err != nil {
					b.Fatal(err)
				}
				if err := s.Dispatch(pipe, [3]uint32{1, 1, 1}, nil, nil); err != nil {
					b.Fatal(err)
				}
				u, err := s.Send()
				if err != nil {
					b.Fatal(err)
				}
				if err := u.Wait(ctx); err != nil {
					b.Fatal(err)
				}
			}
			chain := newTinyChain(b, e, conv.Shape{1, 1, 4, 4}, 10)
			layers := func(n int) func() {
				return func() {
					chain.run(b, n)
					if err := e.Wait(ctx); err != nil {
						b.Fatal(err)
					}
				}
			}
			ways := []struct {
				name  string
				f     func()
				took  []float64
				calls int64
				mem   uint64
			}{{name: "empty", f: empty}, {name: "layer", f: layers(1)}, {name: "ten", f: layers(10)}}
			for w := range ways {
				ways[w].f()
			}
			var before, after runtime.MemStats
			for b.Loop() {
				for w := range ways {
					way := &ways[w]
					calls, start := runtime.NumCgoCall(), time.Now()
					way.f()
					way.took = append(way.took, float64(time.Since(start).Nanoseconds())/1e3)
					way.calls += runtime.NumCgoCall() - calls
				}
			}
			for w := range ways {
				way := &ways[w]
				const times = 100
				runtime.ReadMemStats(&before)
				for range times {
					way.f()
				}
				runtime.ReadMemStats(&after)
				slices.Sort(way.took)
				b.ReportMetric(way.took[len(way.took)/2], way.name+"-µs")
				b.ReportMetric(float64(way.calls)/float64(len(way.took)), way.name+"-cgo")
				b.ReportMetric(float64(after.Mallocs-before.Mallocs)/times, way.name+"-allocs")
			}
			b.ReportMetric(ways[1].took[len(ways[1].took)/2]/ways[0].took[len(ways[0].took)/2], "ratio")
		})
	}
}
