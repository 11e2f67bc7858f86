package vkconv_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// otherWork keeps the engine busy with a layer of its own until the returned function is called.
func otherWork(t *testing.T, e *vkconv.Engine) (end func()) {
	stop := make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		c := convtest.Random(1, 1)
		y := make([]float32, c.Problem.Output().Len())
		for {
			select {
			case <-stop:
				return
			default:
				if err := run(e, c, y, c.X, c.Weight, c.Bias, c.Offset, c.Mask); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	return func() {
		close(stop)
		other.Wait()
	}
}

// shared is a layer and its operands, used by many goroutines.
type shared struct {
	layer *vkconv.Conv2D
	x     *vkconv.Tensor
	want  []float32
}

func newShared(e *vkconv.Engine, i int) (*shared, error) {
	x, w := conv.Shape{1 + i%2, 4, 9 + i, 11}, conv.Shape{5, 4, 3, 3}
	l, err := e.NewConv2D(x, noise(w.Len()), nil, w, conv.Params{Padding: conv.Pad(i % 3), Dilation: [2]int{1 + i%2, 1}})
	if err != nil {
		return nil, err
	}
	t, err := e.TensorOf(x, noise(x.Len()))
	if err != nil {
		return nil, err
	}
	s := &shared{layer: l, x: t}
	s.want, err = s.once(context.Background(), e)
	return s, err
}

// once runs the layer into a tensor of the caller's own.
func (s *shared) once(ctx context.Context, e *vkconv.Engine) ([]float32, error) {
	y, err := e.NewTensor(s.layer.Problem().Output())
	if err != nil {
		return nil, err
	}
	defer y.Free()
	if err := s.layer.Run(ctx, y, s.x); err != nil {
		return nil, err
	}
	got := make([]float32, y.Shape().Len())
	return got, y.Download(ctx, got)
}

// 64 goroutines share an engine, layers and inputs, some give up in flight: the bits of one at a time.
func TestManyAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		layers := make([]*shared, 4)
		for i := range layers {
			var err error
			if layers[i], err = newShared(e, i); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for g := range 64 {
			wg.Go(func() {
				for k := range 10 {
					s, c := layers[(g+k)%len(layers)], ctx
					if (g+k)%5 == 0 { // given up before, or perhaps during
						limited, cancel := context.WithTimeout(ctx, time.Duration(k%3)*200*time.Microsecond)
						defer cancel()
						c = limited
					}
					switch got, err := s.once(c, e); {
					case errors.Is(err, context.DeadlineExceeded):
					case err != nil:
						t.Error(err)
						return
					case !slices.Equal(got, s.want):
						t.Errorf("goroutine %d, run %d: another result than alone", g, k)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// The engine, a layer and a tensor are closed while 64 goroutines use them: calls work or say that they are closed.
func TestClosedWhileInUse(t *testing.T) {
	for _, what := range []string{"engine", "layer", "tensor"} {
		t.Run(what, func(t *testing.T) {
			onOwn(t, func(t *testing.T, e *vkconv.Engine) {
				s, err := newShared(e, 1)
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				for range 64 {
					wg.Go(func() {
						for {
							got, err := s.once(ctx, e)
							if errors.Is(err, vkconv.ErrClosed) {
								return
							}
							if err != nil || !slices.Equal(got, s.want) {
								t.Errorf("before it is closed: %v", err)
								return
							}
						}
					})
				}
				time.Sleep(30 * time.Millisecond)
				switch what {
				case "engine":
					if err := e.Close(); err != nil {
						t.Error(err)
					}
				case "layer":
					s.layer.Close()
				case "tensor":
					s.x.Free()
				}
				wg.Wait()
			})
		})
	}
}

// Random layers made, run and dropped without end by several goroutines: memory, threads and open files come back to
// where they were. VKCONV_SOAK sets the length.
func TestSoak(t *testing.T) {
	length := 2 * time.Second
	if s := os.Getenv("VKCONV_SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatalf("VKCONV_SOAK is %q, want a duration like 1h", s)
		}
	}
	onOwn(t, func(t *testing.T, e *vkconv.Engine) {
		var early usage
		jobs := 0
		for i, until := range []time.Duration{length / 3, length - length/3} { // the first third warms up
			jobs += soak(t, e, until, uint64(i))
			if err := e.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			if m := e.Memory(); m.InUse != 0 {
				t.Errorf("%d bytes of device memory are still in use", m.InUse)
			}
			now := use()
			if i == 0 {
				early = now
			} else {
				// A thread or file now and then is the runtime's; what leaks does so thousands of times.
				if now.threads > early.threads+16 || now.files > early.files+16 || now.heap > early.heap+32<<20 ||
					length >= time.Minute && now.resident > early.resident+64<<20 { // pipelines are still being made in a short run
					t.Errorf("after %d jobs: %v became %v", jobs, early, now)
				}
				t.Logf("%d jobs in %v; %v became %v", jobs, length, early, now)
			}
		}
	})
}

// soak runs random jobs on 4 goroutines and returns how many.
func soak(t *testing.T, e *vkconv.Engine, length time.Duration, seed uint64) int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	jobs := 0
	stop := time.Now().Add(length)
	for g := range 4 {
		r := rand.New(rand.NewPCG(seed, uint64(g)))
		wg.Go(func() {
			for time.Now().Before(stop) {
				c := convtest.RandomActivated(convtest.Seed(), r.IntN(40)) // pipelines are kept until Close: so many kinds at most
				got := make([]float32, c.Problem.Output().Len())
				if err := run(e, c, got, c.X, c.Weight, c.Bias, c.Offset, c.Mask); err != nil {
					t.Errorf("%s: %v", c.Name, err)
					return
				}
				mu.Lock()
				jobs++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return jobs
}

// usage is what a process holds; what cannot be counted on a system is 0.
type usage struct {
	threads, files int
	heap, resident int64
}

func (u usage) String() string {
	return fmt.Sprintf("%d threads, %d files, %.1f MiB of Go heap, %.1f MiB resident", u.threads, u.files, float64(u.heap)/(1<<20), float64(u.resident)/(1<<20))
}

func use() (u usage) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.heap = int64(m.HeapInuse)
	if raw, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(raw)) {
			fmt.Sscanf(line, "Threads: %d", &u.threads)
			if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &u.resident); err == nil {
				u.resident <<= 10
			}
		}
	}
	if all, err := os.ReadDir("/proc/self/fd"); err == nil {
		for _, f := range all {
			// SwiftShader's own: it keeps a descriptor for each time it compiles.
			if to, _ := os.Readlink("/proc/self/fd/" + f.Name()); !strings.Contains(to, "swiftshader_jit") {
				u.files++
			}
		}
	}
	return u
}
