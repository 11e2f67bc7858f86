//go:build cgo

package gpu_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// Buffers come and go at random. Each is filled with a number of its own, whole, and must still hold it when it is freed:
// that is a guard band as wide as all the neighbours. Ranges are compared too.
func TestRandomAllocation(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		rng := rand.New(rand.NewPCG(seed, 2))
		type held struct {
			b    *gpu.Buffer
			fill byte
		}
		var all []held
		verify := func(h held) {
			got := make([]byte, h.b.Size())
			check(t, d.Download(got, h.b, 0))
			if want := bytes.Repeat([]byte{h.fill}, len(got)); !bytes.Equal(got, want) {
				t.Fatalf("a buffer of %d bytes was written by a neighbour", h.b.Size())
			}
		}
		var total int64
		for range 2000 {
			if len(all) > 0 && (rng.IntN(100) < 45 || total > 80<<20) {
				k := rng.IntN(len(all))
				verify(all[k])
				all[k].b.Free()
				total -= all[k].b.Size()
				all = slices.Delete(all, k, k+1)
				continue
			}
			size := int64(rng.IntN(3000))
			switch rng.IntN(20) {
			case 0:
				size = int64(rng.IntN(20 << 20)) // some get a block of their own
			case 1:
				size = 0
			case 2, 3:
				size = int64(rng.IntN(1 << 20))
			}
			b, err := d.NewBuffer(size)
			check(t, err)
			if b.Size() != size {
				t.Fatalf("asked for %d bytes, got %d", size, b.Size())
			}
			h := held{b, byte(rng.Uint32())}
			check(t, d.Upload(b, 0, bytes.Repeat([]byte{h.fill}, int(size))))
			block, off, room := b.Place()
			if off%d.Info().Limits.StorageAlign != 0 || room < size {
				t.Fatalf("%d bytes at %d with room for %d", size, off, room)
			}
			for _, o := range all {
				if other, at, long := o.b.Place(); other == block && at < off+room && off < at+long {
					t.Fatalf("[%d, %d) and [%d, %d) overlap", off, off+room, at, at+long)
				}
			}
			all = append(all, h)
			total += size
		}
		use := d.MemoryUse()
		if use.Buffers != len(all) || use.InUse < total || use.Reserved < use.InUse || use.Peak < use.InUse {
			t.Errorf("%d buffers of %d bytes, said to be %+v", len(all), total, use)
		}
		for _, h := range all {
			verify(h)
			h.b.Free()
			h.b.Free() // does nothing
		}
		if use := d.MemoryUse(); use.Buffers != 0 || use.InUse != 0 {
			t.Errorf("after all is freed: %+v", use)
		}
		if use := d.MemoryUse(); use.Reserved > 512<<20 {
			t.Errorf("%d bytes are kept for nothing", use.Reserved)
		}
	})
}

func TestBudget(t *testing.T) {
	gputest.DevicesWith(t, gpu.Options{MemoryBudget: 10 << 20}, func(t *testing.T, d *gpu.Device) {
		a := must[*gpu.Buffer](t)(d.NewBuffer(6 << 20))
		_, err := d.NewBuffer(6 << 20)
		if !errors.Is(err, gpu.ErrOutOfMemory) {
			t.Fatalf("6 + 6 MiB of 10 gives %v", err)
		}
		t.Log(err)
		// Freed while in flight, it is waited for and used again.
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "spin"), nil))
		s := must[*gpu.Stream](t)(d.NewStream())
		check(t, s.Dispatch(p, [3]uint32{64, 1, 1}, words(10000), []gpu.Binding{{Buffer: a}}))
		must[*gpu.Submission](t)(s.Submit())
		a.Free()
		b := must[*gpu.Buffer](t)(d.NewBuffer(6 << 20))
		defer b.Free()
		if use := d.MemoryUse(); use.Reserved > 10<<20 {
			t.Errorf("%d bytes are reserved", use.Reserved)
		}
		if _, err := d.NewBuffer(3 << 20); err != nil {
			t.Errorf("6 + 3 MiB of 10 gives %v", err)
		}
	})
	if _, err := gpu.Open(gpu.Options{MemoryBudget: -1}); !errors.Is(err, gpu.ErrArgument) {
		t.Errorf("a negative budget gives %v", err)
	}
}

// A buffer that is freed while streams use it keeps its memory until they are done.
func TestFreeInUse(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
		out := buffer(t, d, make([]uint32, 1000)...)
		for k := range uint32(50) {
			x := buffer(t, d, slices.Repeat([]uint32{k}, 1000)...)
			s := must[*gpu.Stream](t)(d.NewStream())
			add(t, s, p, out, x, 0, 0, 1000)
			x.Free()
			if err := s.Dispatch(p, [3]uint32{1, 1, 1}, words(1), []gpu.Binding{{Buffer: out}, {Buffer: x}}); !errors.Is(err, gpu.ErrClosed) {
				t.Fatalf("recording with a freed buffer gives %v", err)
			}
			y := buffer(t, d, slices.Repeat([]uint32{0xdddddddd}, 1000)...) // must not land on x
			must[*gpu.Submission](t)(s.Submit())
			y.Free()
		}
		if got := contents(t, d, out); !slices.Equal(got, slices.Repeat([]uint32{49 * 50 / 2}, 1000)) {
			t.Errorf("sums are %d …, want %d", got[0], 49*50/2)
		}
		check(t, d.WaitIdle())
		if use := d.MemoryUse(); use.Buffers != 1 {
			t.Errorf("%d buffers are left, want 1", use.Buffers)
		}
		x := buffer(t, d, 1)
		x.Free()
		if err := d.Upload(x, 0, words(1)); !errors.Is(err, gpu.ErrClosed) {
			t.Errorf("upload to a freed buffer gives %v", err)
		}
		if err := d.Download(make([]byte, 4), x, 0); !errors.Is(err, gpu.ErrClosed) {
			t.Errorf("download from a freed buffer gives %v", err)
		}
		if err := d.Fill(x, 0, 4, 0); !errors.Is(err, gpu.ErrClosed) {
			t.Errorf("fill of a freed buffer gives %v", err)
		}
	})
}

// Transfers of all lengths, around the sizes of staging slots, at odd offsets; what lies beside stays as it was.
func TestTransfers(t *testing.T) {
	t.Run("direct", transfers)
	t.Run("staging", func(t *testing.T) {
		t.Setenv("VKCONV_STAGING", "1")
		transfers(t)
	})
}

func transfers(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		if got := d.Info().Features.HostVisible; got && t.Name()[:len("TestTransfers/s")] == "TestTransfers/s" {
			t.Error("staging was asked for and memory is host-visible")
		}
		rng := rand.New(rand.NewPCG(3, 3))
		const size = 30<<20 + 5
		b := must[*gpu.Buffer](t)(d.NewBuffer(size))
		want := make([]byte, size)
		for k := 0; k+8 < size; k += 8 {
			*(*[8]byte)(want[k:]) = [8]byte(words(rng.Uint32(), rng.Uint32()))
		}
		check(t, d.Upload(b, 0, want))
		for _, n := range []int{0, 1, 3, 4, 5, 255, 65535, 65536, 65537, 8<<20 - 1, 8 << 20, 8<<20 + 1, 25 << 20, size} {
			off := rng.IntN(size - n + 1)
			src := make([]byte, n)
			for k := range src {
				src[k] = byte(k*7 + n)
			}
			kept := bytes.Clone(src)
			check(t, d.Upload(b, int64(off), src))
			if !bytes.Equal(src, kept) {
				t.Fatalf("upload of %d bytes changed its source", n)
			}
			copy(want[off:], src)
			lo := max(0, off-100)
			got := make([]byte, min(n+200, size-lo))
			check(t, d.Download(got, b, int64(lo)))
			if !bytes.Equal(got, want[lo:lo+len(got)]) {
				t.Fatalf("%d bytes at %d came back different", n, off)
			}
		}
		got := make([]byte, size)
		check(t, d.Download(got, b, 0))
		if !bytes.Equal(got, want) {
			t.Error("the whole came back different")
		}
		for _, c := range []struct{ off, n int64 }{{-1, 1}, {0, size + 1}, {size, 1}, {size + 1, 0}, {1 << 62, 8}} {
			if c.n < 100 {
				if err := d.Upload(b, c.off, make([]byte, c.n)); !errors.Is(err, gpu.ErrArgument) {
					t.Errorf("upload of %d at %d gives %v", c.n, c.off, err)
				}
			}
			if err := d.Download(make([]byte, c.n), b, c.off); !errors.Is(err, gpu.ErrArgument) {
				t.Errorf("download of %d at %d gives %v", c.n, c.off, err)
			}
		}
	})
}

// An upload to a buffer that work in flight reads must not reach that work.
func TestUploadBehindWork(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		spin := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "spin"), nil))
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
		busy, x, y := buffer(t, d, make([]uint32, 4096)...), buffer(t, d, 0), buffer(t, d, 0)
		var want uint32
		for k := range uint32(20) {
			check(t, d.Upload(x, 0, words(k)))
			s := must[*gpu.Stream](t)(d.NewStream())
			check(t, s.Dispatch(spin, [3]uint32{64, 1, 1}, words(2000), []gpu.Binding{{Buffer: busy}}))
			add(t, s, p, y, x, 0, 0, 1)
			must[*gpu.Submission](t)(s.Submit())
			want += k
		}
		if got := contents(t, d, y)[0]; got != want {
			t.Errorf("the sum of what each submission saw is %d, want %d", got, want)
		}
	})
}

func TestEmptyBuffer(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
		x, y := buffer(t, d), buffer(t, d)
		s := must[*gpu.Stream](t)(d.NewStream())
		add(t, s, p, x, y, 0, 0, 0) // no groups
		check(t, s.Dispatch(p, [3]uint32{1, 1, 1}, words(0), []gpu.Binding{{Buffer: x}, {Buffer: y, Access: gpu.Read}}))
		check(t, s.Fill(x, 0, 0, 1))
		check(t, s.Copy(x, 0, y, 0, 0))
		finish(t, s)
		check(t, d.Upload(x, 0, nil))
		check(t, d.Download(nil, x, 0))
	})
}
