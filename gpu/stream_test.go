//go:build cgo

package gpu_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// Each dispatch reads what the one before wrote: without barriers in the right places the numbers come out wrong.
func TestChain(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		const n, rounds = 1000, 10
		x := make([]uint32, n)
		for k := range x {
			x[k] = bits(float32(k))
		}
		guard := slices.Repeat([]uint32{0x7fc00000}, 64) // NaN
		a, b := buffer(t, d, append(slices.Clone(x), guard...)...), buffer(t, d, slices.Repeat(guard, (n+64)/64+1)...)
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "scale"), []gpu.Constant{{ID: 0, Value: 32}, {ID: 1, Value: 3}}))
		if g := p.GroupSize(); g != [3]uint32{32, 1, 1} {
			t.Errorf("group size %v, want 32×1×1", g)
		}
		s := must[*gpu.Stream](t)(d.NewStream())
		for range rounds {
			check(t, s.Dispatch(p, groups(n, 96), words(n, bits(2), bits(1)),
				[]gpu.Binding{{Buffer: a, Access: gpu.Read}, {Buffer: b, Access: gpu.Write}}))
			a, b = b, a
		}
		finish(t, s)
		got := contents(t, d, a)
		for k := range n {
			if want := bits(float32(1024*k + 1023)); got[k] != want {
				t.Fatalf("element %d is %#x, want %#x", k, got[k], want)
			}
		}
		if !slices.Equal(got[n:n+64], guard) {
			t.Errorf("the guard band was written: %x", got[n:n+64])
		}
	})
}

// A barrier comes only where ranges meet and one side writes.
func TestBarriersOnlyWhereNeeded(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		x, y, z := buffer(t, d, make([]uint32, 512)...), buffer(t, d, make([]uint32, 512)...), buffer(t, d, make([]uint32, 512)...)
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
		s := must[*gpu.Stream](t)(d.NewStream())
		defer s.Discard()
		step := func(what string, want int, do func()) {
			t.Helper()
			do()
			if got := s.Touched(); got != want {
				t.Errorf("after %s %d ranges are open, want %d", what, got, want)
			}
		}
		step("x[0:256] += y", 2, func() { add(t, s, p, x, y, 0, 0, 256) })
		step("x[256:512] += y, apart", 4, func() { add(t, s, p, x, y, 256, 0, 256) })
		step("z += y, reads alike", 6, func() { add(t, s, p, z, y, 0, 0, 256) })
		step("z += x, RAW", 2, func() { add(t, s, p, z, x, 0, 128, 256) })
		step("x += y, WAR", 2, func() { add(t, s, p, x, y, 192, 0, 128) })
		step("fill of x, WAW", 1, func() { check(t, s.Fill(x, 4*300, 4*8, 7)) })
		step("fill of x elsewhere", 2, func() { check(t, s.Fill(x, 0, 4*8, 7)) })
		step("copy of what was filled", 2, func() { check(t, s.Copy(y, 0, x, 0, 16)) })
		step("copy of nothing", 2, func() { check(t, s.Copy(y, 0, x, 0, 0)) })
	})
}

// Random programs of dispatches, copies, fills, uploads and downloads over a few buffers, cut into streams at random,
// against the same program in Go.
func TestRandomPrograms(t *testing.T) {
	t.Run("direct", randomPrograms)
	t.Run("staging", func(t *testing.T) {
		t.Setenv("VKCONV_STAGING", "1")
		randomPrograms(t)
	})
}

func randomPrograms(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		rng := rand.New(rand.NewPCG(seed, 1))
		add := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
		const count, n, unit = 4, 1024, 64 // offsets of bindings in steps of 256 bytes, the most that may be asked for
		var bufs [count]*gpu.Buffer
		var want [count][]uint32
		for k := range bufs {
			want[k] = make([]uint32, n)
			for i := range want[k] {
				want[k][i] = rng.Uint32()
			}
			bufs[k] = buffer(t, d, want[k]...)
		}
		s := must[*gpu.Stream](t)(d.NewStream())
		for step := range 600 {
			x, y := rng.IntN(count), rng.IntN(count)
			xo, yo := rng.IntN(n/unit)*unit, rng.IntN(n/unit)*unit
			size := 1 + rng.IntN(n-max(xo, yo))
			switch op := rng.IntN(20); {
			case op < 12:
				if x == y {
					continue
				}
				if err := s.Dispatch(add, groups(size, 64), words(uint32(size)), []gpu.Binding{
					{Buffer: bufs[x], Offset: int64(4 * xo), Size: int64(4 * size)},
					{Buffer: bufs[y], Offset: int64(4 * yo), Size: int64(4 * size), Access: gpu.Read}}); err != nil {
					t.Fatal(err)
				}
				for k := range size {
					want[x][xo+k] += want[y][yo+k]
				}
			case op < 14:
				if x == y {
					continue
				}
				check(t, s.Copy(bufs[x], int64(4*xo), bufs[y], int64(4*yo), int64(4*size)))
				copy(want[x][xo:xo+size], want[y][yo:])
			case op < 16:
				word := rng.Uint32()
				check(t, s.Fill(bufs[x], int64(4*xo), int64(4*size), word))
				for k := range size {
					want[x][xo+k] = word
				}
			default:
				must[*gpu.Submission](t)(s.Submit())
				if op == 18 {
					src := make([]uint32, size)
					for k := range src {
						src[k] = rng.Uint32()
					}
					raw := words(src...)
					check(t, d.Upload(bufs[x], int64(4*xo), raw))
					clear(raw) // may be used again at once
					copy(want[x][xo:], src)
				}
				if op == 19 {
					part := make([]byte, 4*size)
					check(t, d.Download(part, bufs[x], int64(4*xo)))
					if got := unwords(part); !slices.Equal(got, want[x][xo:xo+size]) {
						t.Fatalf("step %d: buffer %d words %d to %d differ", step, x, xo, xo+size)
					}
				}
				s = must[*gpu.Stream](t)(d.NewStream())
			}
		}
		finish(t, s)
		for k := range bufs {
			if got := contents(t, d, bufs[k]); !slices.Equal(got, want[k]) {
				t.Errorf("buffer %d differs at the end", k)
			}
		}
		if all, idle := d.Recorders(); all != idle {
			t.Errorf("%d of %d recorders came back", idle, all)
		}
	})
}

// Many sets, timestamps and submissions: pools grow, recorders are recycled, more than maxInFlight are asked for.
func TestManySubmissions(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
		x, y := buffer(t, d, 0, 0, 0), buffer(t, d, 1, 2, 3)
		const streams, each = 150, 7
		for range streams {
			s := must[*gpu.Stream](t)(d.NewStream())
			for range each {
				add(t, s, p, x, y, 0, 0, 3)
			}
			must[*gpu.Submission](t)(s.Submit())
		}
		s := must[*gpu.Stream](t)(d.NewStream())
		for range 1000 { // more than one descriptor pool holds
			add(t, s, p, x, y, 0, 0, 3)
		}
		must[*gpu.Submission](t)(s.Submit())
		const want = streams*each + 1000
		if got := contents(t, d, x); !slices.Equal(got, []uint32{want, 2 * want, 3 * want}) {
			t.Errorf("got %v, want multiples of %d", got, want)
		}
		check(t, d.WaitIdle())
		if all, idle := d.Recorders(); all != idle || all > 70 {
			t.Errorf("%d recorders, %d idle; want all idle and no more than are in flight at most", all, idle)
		}
	})
}

func TestTimestamps(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		if d.Info().Limits.TimestampBits == 0 {
			s := must[*gpu.Stream](t)(d.NewStream())
			defer s.Discard()
			if _, err := s.Timestamp(); !errors.Is(err, gpu.ErrLimit) {
				t.Errorf("a device without timestamps gives %v", err)
			}
			return
		}
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "spin"), nil))
		x := buffer(t, d, make([]uint32, 4096)...)
		for range 2 { // the second time with recycled queries
			s := must[*gpu.Stream](t)(d.NewStream())
			const n = 150 // more than one query pool holds
			for k := range n {
				if slot := must[int](t)(s.Timestamp()); slot != k {
					t.Fatalf("timestamp %d has slot %d", k, slot)
				}
				check(t, s.Dispatch(p, [3]uint32{64, 1, 1}, words(200), []gpu.Binding{{Buffer: x}}))
			}
			start := time.Now()
			u := finish(t, s)
			took := time.Since(start)
			times := must[[]time.Duration](t)(u.Timestamps())
			if len(times) != n || times[0] != 0 {
				t.Fatalf("%d timestamps, the first %v", len(times), times[0])
			}
			if !slices.IsSorted(times) {
				t.Errorf("timestamps run backwards: %v", times)
			}
			if times[n-1] <= 0 || times[n-1] > took+time.Second {
				t.Errorf("the device says %v, the clock %v", times[n-1], took)
			}
		}
		u := finish(t, must[*gpu.Stream](t)(d.NewStream()))
		if times, err := u.Timestamps(); err != nil || len(times) != 0 {
			t.Errorf("a stream without timestamps gives %v, %v", times, err)
		}
	})
}

func TestWaitCancelled(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "spin"), nil))
		x := buffer(t, d, make([]uint32, 4096)...)
		// Rounds doubled until the work takes long enough to be interrupted.
		for rounds := uint32(1 << 14); ; rounds *= 4 {
			s := must[*gpu.Stream](t)(d.NewStream())
			check(t, s.Dispatch(p, [3]uint32{64, 1, 1}, words(rounds), []gpu.Binding{{Buffer: x}}))
			u := must[*gpu.Submission](t)(s.Submit())
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			err := u.Wait(ctx)
			cancel()
			if err == nil && rounds < 1<<28 {
				continue
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Wait of cancelled work gives %v", err)
			}
			done, err := u.Done()
			if err != nil {
				t.Error(err)
			}
			if !done {
				if _, err := u.Timestamps(); !errors.Is(err, gpu.ErrArgument) {
					t.Errorf("timestamps of unfinished work give %v", err)
				}
			}
			check(t, u.Wait(context.Background()))
			if done, err := u.Done(); !done || err != nil {
				t.Errorf("after Wait: done %t, %v", done, err)
			}
			return
		}
	})
}

func TestDispatchAllocatesNothing(t *testing.T) {
	if asan {
		t.Skip("the address sanitizer makes arguments escape")
	}
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
		x, y := buffer(t, d, 1, 2, 3), buffer(t, d, 1, 2, 3)
		push := words(3)
		var s *gpu.Stream
		run := func() {
			for range 100 {
				if err := s.Dispatch(p, [3]uint32{1, 1, 1}, push, []gpu.Binding{{Buffer: x}, {Buffer: y, Access: gpu.Read}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 3 { // let the recorder grow to its size
			s = must[*gpu.Stream](t)(d.NewStream())
			run()
			run()
			run()
			finish(t, s)
		}
		s = must[*gpu.Stream](t)(d.NewStream())
		if n := testing.AllocsPerRun(1, run); n != 0 {
			t.Errorf("100 dispatches made %v allocations", n)
		}
		finish(t, s)
	})
}

// The validation layer is really there and really looks at barriers: a barrier left out on purpose is reported. (The one
// between a write and a read; older layers keep quiet about two writes by dispatches.)
func TestValidationFindsMissingBarrier(t *testing.T) {
	if os.Getenv("VKCONV_VALIDATION") != "1" {
		t.Skip("only with VKCONV_VALIDATION=1")
	}
	for _, i := range gputest.List(t) {
		var said bytes.Buffer
		d := must[*gpu.Device](t)(gpu.Open(gpu.Options{Device: i.Name, CacheDir: "off", Log: slog.New(slog.NewTextHandler(&said, nil))}))
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
		x, y, z := buffer(t, d, 1, 2, 3), buffer(t, d, 1, 2, 3), buffer(t, d, 1, 2, 3)
		s := must[*gpu.Stream](t)(d.NewStream())
		add(t, s, p, x, y, 0, 0, 3)
		if m := d.Messages(); len(m) > 0 {
			t.Errorf("%s: %v", i, m)
		}
		s.ForgetHazards()
		add(t, s, p, z, x, 0, 0, 3)
		finish(t, s)
		check(t, d.Close())
		if n := strings.Count(said.String(), "level=WARN msg=validation"); n != len(d.Messages()) {
			t.Errorf("%s: %d messages, %d in the log: %s", i, len(d.Messages()), n, said.String())
		}
		if m := d.Messages(); len(m) == 0 || !strings.Contains(m[0], "SYNC-HAZARD") {
			t.Errorf("%s: a barrier was missing and validation said %v", i, m)
		}
	}
}

// Under VKCONV_VALIDATION=gpu the layer really looks into shaders: one that reads and writes a word past its buffers is
// reported.
func TestValidationFindsOutOfBounds(t *testing.T) {
	if os.Getenv("VKCONV_VALIDATION") != "gpu" {
		t.Skip("only with VKCONV_VALIDATION=gpu")
	}
	for _, i := range gputest.List(t) {
		d := must[*gpu.Device](t)(gpu.Open(gpu.Options{Device: i.Name, CacheDir: "off"}))
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
		x, y := buffer(t, d, 1, 2, 3), buffer(t, d, 1, 2, 3)
		for n := uint32(3); n < 5; n++ {
			if m := d.Messages(); len(m) > 0 {
				t.Errorf("%s: nothing was read or written outside and validation said %v", i, m)
			}
			s := must[*gpu.Stream](t)(d.NewStream())
			check(t, s.Dispatch(p, [3]uint32{1, 1, 1}, words(n), []gpu.Binding{{Buffer: x, Access: gpu.ReadWrite}, {Buffer: y, Access: gpu.Read}}))
			finish(t, s)
		}
		check(t, d.Close())
		if m := d.Messages(); len(m) == 0 || !strings.Contains(m[0], "out of bounds") {
			t.Errorf("%s: a word was written past a buffer and validation said %v", i, m)
		}
	}
}
