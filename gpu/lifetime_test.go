//go:build cgo

package gpu_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

func TestUseAfterClose(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		m := module(t, "add")
		p := must[*gpu.Pipeline](t)(d.Pipeline(m, nil))
		x, y := buffer(t, d, 1), buffer(t, d, 2)
		open := must[*gpu.Stream](t)(d.NewStream()) // left open on purpose, as are the buffers
		add(t, open, p, x, y, 0, 0, 1)
		s := must[*gpu.Stream](t)(d.NewStream())
		add(t, s, p, x, y, 0, 0, 1)
		u := must[*gpu.Submission](t)(s.Submit()) // in flight when the device is closed
		check(t, d.Close())
		check(t, d.Close())
		_, bufErr := d.NewBuffer(1)
		_, pipeErr := d.Pipeline(m, nil)
		_, streamErr := d.NewStream()
		_, stampErr := open.Timestamp()
		_, submitErr := open.Submit()
		_, doneErr := u.Done()
		_, timesErr := u.Timestamps()
		for what, err := range map[string]error{
			"NewBuffer": bufErr, "Pipeline": pipeErr, "NewStream": streamErr, "Timestamp": stampErr, "Submit": submitErr,
			"Done": doneErr, "Timestamps": timesErr,
			"Upload": d.Upload(x, 0, words(1)), "Download": d.Download(make([]byte, 4), x, 0), "Fill": d.Fill(x, 0, 4, 0),
			"WaitIdle": d.WaitIdle(), "Wait": u.Wait(context.Background()),
			"Dispatch":    open.Dispatch(p, [3]uint32{1, 1, 1}, words(1), []gpu.Binding{{Buffer: x}, {Buffer: y}}),
			"Copy":        open.Copy(x, 0, y, 0, 4),
			"Stream.Fill": open.Fill(x, 0, 4, 0),
		} {
			wants(t, what, err, gpu.ErrClosed)
		}
		open.Discard()
		x.Free()
		if left := d.LiveObjects(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if use := d.MemoryUse(); use.InUse != 0 || use.Reserved != 0 {
			t.Errorf("memory after Close: %+v", use)
		}
		if d.Info().Name == "" || d.Chosen() == "" {
			t.Error("Info and Chosen are gone")
		}
	})
}

// Close in the midst of others' work: every call either works or says ErrClosed.
func TestCloseUnderWay(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					if err := once(d, t); err != nil {
						if !errors.Is(err, gpu.ErrClosed) {
							t.Errorf("a call beside Close gives %v", err)
						}
						return
					}
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		check(t, d.Close())
		wg.Wait()
	})
}

// once is a small whole job: numbers up, through a chain of dispatches, and down again.
func once(d *gpu.Device, t testing.TB) error {
	const n, steps = 300, 5
	p, err := d.Pipeline(module(t, "add"), nil)
	if err != nil {
		return err
	}
	x, err := d.NewBuffer(4 * n)
	if err != nil {
		return err
	}
	defer x.Free()
	y, err := d.NewBuffer(4 * n)
	if err != nil {
		return err
	}
	defer y.Free()
	seed := rand.Uint32()
	if err := d.Upload(x, 0, words(slices.Repeat([]uint32{seed}, n)...)); err != nil {
		return err
	}
	if err := d.Upload(y, 0, words(slices.Repeat([]uint32{3}, n)...)); err != nil {
		return err
	}
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	defer s.Discard()
	for range steps {
		if err := s.Dispatch(p, groups(n, 64), words(n), []gpu.Binding{{Buffer: x}, {Buffer: y, Access: gpu.Read}}); err != nil {
			return err
		}
	}
	u, err := s.Submit()
	if err != nil {
		return err
	}
	if rand.IntN(2) == 0 {
		if err := u.Wait(context.Background()); err != nil {
			return err
		}
	}
	got := make([]byte, 4*n)
	if err := d.Download(got, x, 0); err != nil {
		return err
	}
	for k, v := range unwords(got) {
		if v != seed+3*steps {
			return fmt.Errorf("element %d is %d, want %d", k, v, seed+3*steps)
		}
	}
	return nil
}

func TestConcurrency(t *testing.T) {
	for _, staging := range []string{"0", "1"} {
		t.Run("staging="+staging, func(t *testing.T) {
			t.Setenv("VKCONV_STAGING", staging)
			gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
				var wg sync.WaitGroup
				for g := range 16 {
					wg.Go(func() {
						for range 30 {
							if err := once(d, t); err != nil {
								t.Error(err)
								return
							}
							if g%4 == 0 {
								if _, err := d.Pipeline(module(t, "scale"), []gpu.Constant{{ID: 1, Value: 1 + rand.Uint32N(20)}}); err != nil {
									t.Error(err)
								}
							}
							d.MemoryUse()
							d.Messages()
						}
					})
				}
				wg.Wait()
				if use := d.MemoryUse(); use.Buffers != 0 {
					t.Errorf("%d buffers are left", use.Buffers)
				}
			})
		})
	}
}

// One stream recorded by several goroutines: the order is theirs, the bookkeeping must hold.
func TestSharedStream(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
		x, y := buffer(t, d, 0), buffer(t, d, 1)
		s := must[*gpu.Stream](t)(d.NewStream())
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 20 {
					add(t, s, p, x, y, 0, 0, 1)
				}
			})
		}
		wg.Wait()
		finish(t, s)
		if got := contents(t, d, x)[0]; got != 320 {
			t.Errorf("320 additions of 1 give %d", got)
		}
	})
}

func TestLostDevice(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "spin"), nil))
		x := buffer(t, d, make([]uint32, 4096)...)
		s := must[*gpu.Stream](t)(d.NewStream())
		check(t, s.Dispatch(p, [3]uint32{64, 1, 1}, words(20000), []gpu.Binding{{Buffer: x}}))
		u := must[*gpu.Submission](t)(s.Submit())
		other := must[*gpu.Stream](t)(d.NewStream())
		d.Lose()
		wants(t, "Wait", u.Wait(context.Background()), gpu.ErrDeviceLost, "open it again")
		_, err := other.Submit()
		wants(t, "Submit", err, gpu.ErrDeviceLost)
		_, err = d.NewStream()
		wants(t, "NewStream", err, gpu.ErrDeviceLost)
		wants(t, "Upload", d.Upload(x, 0, words(1)), gpu.ErrDeviceLost)
		wants(t, "Download", d.Download(make([]byte, 4), x, 0), gpu.ErrDeviceLost)
		wants(t, "WaitIdle", d.WaitIdle(), gpu.ErrDeviceLost)
	})
}

// Opening and closing over and over leaves no files, threads or objects behind. VKCONV_OPENINGS says how often; from
// 1,000 on resident memory is held to it, too.
func TestOpenCloseManyTimes(t *testing.T) {
	count := func(path, field string) int {
		if field == "" {
			all, err := os.ReadDir(path)
			if err != nil {
				t.Skipf("cannot be counted here: %v", err)
			}
			n := 0
			for _, e := range all {
				// SwiftShader's own: it keeps a descriptor for each time it compiles on a new device.
				if to, _ := os.Readlink(filepath.Join(path, e.Name())); !strings.Contains(to, "swiftshader_jit") {
					n++
				}
			}
			return n
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Skipf("cannot be counted here: %v", err)
		}
		_, rest, _ := strings.Cut(string(raw), field)
		var n int
		fmt.Sscan(rest, &n)
		return n
	}
	rounds := 200
	if s := os.Getenv("VKCONV_OPENINGS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil || rounds < 200 {
			t.Fatalf("VKCONV_OPENINGS is %q, want a number from 200 on", s)
		}
	}
	for _, i := range gputest.List(t) {
		var files, threads, resident int
		for k := range rounds {
			d := must[*gpu.Device](t)(gpu.Open(gpu.Options{Device: i.Name, CacheDir: "off"}))
			if k%50 == 0 {
				if err := once(d, t); err != nil {
					t.Fatal(err)
				}
			}
			check(t, d.Close())
			if left := d.LiveObjects(); len(left) > 0 {
				t.Fatalf("round %d left %v", k, left)
			}
			if k == 20 { // by then everything has been loaded
				runtime.GC()
				files, threads = count("/proc/self/fd", ""), count("/proc/self/status", "Threads:")
			}
			if k == rounds/2 {
				debug.FreeOSMemory()
				resident = count("/proc/self/status", "VmRSS:")
			}
		}
		f, n := count("/proc/self/fd", ""), count("/proc/self/status", "Threads:")
		if f > files+2 || n > threads+8 {
			t.Errorf("%s: %d open files and %d threads became %d and %d", i, files, threads, f, n)
		}
		debug.FreeOSMemory()
		end := count("/proc/self/status", "VmRSS:")
		if rounds >= 1000 && end > resident+8<<10 { // 16 KiB a round; a driver's heap breathes
			t.Errorf("%s: %d KiB resident became %d in %d rounds", i, resident, end, rounds-rounds/2)
		}
		t.Logf("%s: %d rounds; %d files, %d threads; %d KiB resident, half-way %d", i, rounds, f, n, end, resident)
	}
}

// Pipelines compiled and dispatches recorded without end while others allocate and the collector runs: the load under which
// a binding that frees its arguments too early crashes. VKCONV_STRESS sets its length.
func TestStress(t *testing.T) {
	length := 2 * time.Second
	if s := os.Getenv("VKCONV_STRESS"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatalf("VKCONV_STRESS is %q, want a duration like 5m", s)
		}
	}
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		stop := time.Now().Add(length)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				var keep [][]byte
				for time.Now().Before(stop) {
					keep = append(keep, make([]byte, 1+rand.IntN(1<<16)))
					if len(keep) > 500 {
						keep = nil
						runtime.GC()
					}
				}
			})
		}
		wg.Go(func() {
			for time.Now().Before(stop) {
				if _, err := gpu.Devices(gpu.Options{}); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		jobs, compiled := 0, 0
		var mu sync.Mutex
		for range 4 {
			wg.Go(func() {
				for time.Now().Before(stop) {
					if err := once(d, t); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					jobs++
					c := compiled
					compiled++
					mu.Unlock()
					// New constants up to a bound, for pipelines are kept until Close.
					if _, err := d.Pipeline(module(t, "scale"), []gpu.Constant{{ID: 0, Value: 1 + uint32(c)%64}, {ID: 1, Value: 1 + uint32(c)/64%80}}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%d jobs", jobs)
	})
}

// Several devices opened, used and closed side by side.
func TestConcurrentOpen(t *testing.T) {
	for _, i := range gputest.List(t) {
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				for range 5 {
					d, err := gpu.Open(gpu.Options{Device: i.Name, CacheDir: "off"})
					if err != nil {
						t.Error(err)
						return
					}
					if err := once(d, t); err != nil {
						t.Error(err)
					}
					if err := d.Close(); err != nil {
						t.Error(err)
					}
					if left := d.LiveObjects(); len(left) > 0 {
						t.Errorf("left: %v", left)
					}
				}
			})
		}
		wg.Wait()
	}
}
