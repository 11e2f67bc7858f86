//go:build cgo

package gpu_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// wants fails unless err is of the kind and its sentence has all the parts.
func wants(t *testing.T, what string, err, kind error, parts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want the kind %q", what, err, kind)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %q does not say %q", what, err, p)
		}
	}
}

func TestLimits(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		l := d.Info().Limits
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
		x, y := buffer(t, d, make([]uint32, 512)...), buffer(t, d, make([]uint32, 512)...)
		s := must[*gpu.Stream](t)(d.NewStream())
		ok := []gpu.Binding{{Buffer: x}, {Buffer: y}}
		one := [3]uint32{1, 1, 1}
		for k := range 3 {
			if l.Groups[k] == ^uint32(0) {
				continue
			}
			g := one
			g[k] = l.Groups[k] + 1
			wants(t, "groups", s.Dispatch(p, g, words(1), ok), gpu.ErrLimit, "workgroups", "add")
		}
		wants(t, "short push", s.Dispatch(p, one, nil, ok), gpu.ErrArgument, "4 bytes")
		wants(t, "long push", s.Dispatch(p, one, words(1, 2), ok), gpu.ErrArgument, "not 8")
		wants(t, "bindings", s.Dispatch(p, one, words(1), ok[:1]), gpu.ErrArgument, "2 bindings, not 1")
		wants(t, "nil pipeline", s.Dispatch(nil, one, words(1), ok), gpu.ErrArgument)
		bad := func(b gpu.Binding, parts ...string) {
			t.Helper()
			wants(t, "binding", s.Dispatch(p, one, words(1), []gpu.Binding{{Buffer: x}, b}), gpu.ErrArgument, append(parts, "binding 1")...)
		}
		bad(gpu.Binding{}, "nil")
		bad(gpu.Binding{Buffer: y, Offset: -256})
		bad(gpu.Binding{Buffer: y, Offset: 4096})
		bad(gpu.Binding{Buffer: y, Offset: 2048})
		bad(gpu.Binding{Buffer: y, Size: 2049}, "2048")
		bad(gpu.Binding{Buffer: y, Size: -1})
		bad(gpu.Binding{Buffer: y, Offset: 256, Size: 1 << 62})
		if l.StorageAlign > 1 {
			bad(gpu.Binding{Buffer: y, Offset: l.StorageAlign / 2}, "multiple")
		}
		wants(t, "fill at odd bytes", s.Fill(x, 2, 4, 0), gpu.ErrArgument, "multiples of 4")
		wants(t, "fill too long", s.Fill(x, 0, 4096, 0), gpu.ErrArgument, "2048")
		wants(t, "copy too long", s.Copy(x, 0, y, 1024, 2048), gpu.ErrArgument, "copy from")
		wants(t, "copy onto itself", s.Copy(x, 0, x, 4, 8), gpu.ErrArgument, "overlaps")
		check(t, s.Copy(x, 0, x, 8, 8))
		finish(t, s)
		wants(t, "submitted stream", s.Dispatch(p, one, words(1), ok), gpu.ErrClosed, "submitted")
		_, err := s.Submit()
		wants(t, "submitted twice", err, gpu.ErrClosed)
		s.Discard()

		_, err = d.NewBuffer(-1)
		wants(t, "negative size", err, gpu.ErrArgument, "-1")
		_, err = d.NewBuffer(l.BufferSize + 1)
		wants(t, "buffer", err, gpu.ErrTooLarge, "allows")
		_, err = d.NewBuffer(1<<63 - 1)
		wants(t, "buffer", err, gpu.ErrTooLarge)
	})
}

func TestBindingRange(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		l := d.Info().Limits
		if l.StorageBufferRange >= min(l.BufferSize, 256<<20) {
			t.Skipf("one binding may cover %d bytes, too many to make a larger buffer here", l.StorageBufferRange)
		}
		big := must[*gpu.Buffer](t)(d.NewBuffer(l.StorageBufferRange + 1024))
		p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "spin"), nil))
		s := must[*gpu.Stream](t)(d.NewStream())
		defer s.Discard()
		wants(t, "range", s.Dispatch(p, [3]uint32{1, 1, 1}, words(1), []gpu.Binding{{Buffer: big}}), gpu.ErrTooLarge, "covers")
		check(t, s.Dispatch(p, [3]uint32{1, 1, 1}, words(1), []gpu.Binding{{Buffer: big, Offset: 1024}}))
	})
}

func TestBuffersOfAnotherDevice(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		other := gputest.Open(t, gpu.Options{Device: d.Info().Name, CacheDir: "off"})
		x := buffer(t, other, 1)
		p := must[*gpu.Pipeline](t)(other.Pipeline(module(t, "spin"), nil))
		s := must[*gpu.Stream](t)(d.NewStream())
		defer s.Discard()
		wants(t, "pipeline", s.Dispatch(p, [3]uint32{1, 1, 1}, words(1), []gpu.Binding{{Buffer: x}}), gpu.ErrArgument, "another device")
		wants(t, "upload", d.Upload(x, 0, words(1)), gpu.ErrArgument, "another device")
		mine := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "spin"), nil))
		wants(t, "buffer", s.Dispatch(mine, [3]uint32{1, 1, 1}, words(1), []gpu.Binding{{Buffer: x}}), gpu.ErrArgument, "another device")
	})
}

func TestPipelines(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		l := d.Info().Limits
		m := module(t, "shared")
		consts := func(x, y, size uint32) []gpu.Constant {
			return []gpu.Constant{{ID: 0, Value: x}, {ID: 1, Value: y}, {ID: 2, Value: size}}
		}
		p := must[*gpu.Pipeline](t)(d.Pipeline(m, consts(8, 4, 100)))
		if p.GroupSize() != [3]uint32{8, 4, 1} {
			t.Errorf("group size %v", p.GroupSize())
		}
		same := *m
		same.Code = slices.Clone(m.Code)
		if q := must[*gpu.Pipeline](t)(d.Pipeline(&same, consts(8, 4, 100))); q != p {
			t.Error("the same module and constants gave another pipeline")
		}
		x := make([]uint32, 300)
		for k := range x {
			x[k] = uint32(k)
		}
		in, out := buffer(t, d, x...), buffer(t, d, 0, 0, 0)
		s := must[*gpu.Stream](t)(d.NewStream())
		check(t, s.Dispatch(p, [3]uint32{3, 1, 1}, nil, []gpu.Binding{{Buffer: in, Access: gpu.Read}, {Buffer: out, Access: gpu.Write}}))
		finish(t, s)
		if got := contents(t, d, out); !slices.Equal(got, []uint32{4950, 14950, 24950}) {
			t.Errorf("sums %v", got)
		}

		_, err := d.Pipeline(m, consts(l.GroupSize[0]+1, 1, 1))
		wants(t, "wide group", err, gpu.ErrLimit, "workgroups of", "shared")
		_, err = d.Pipeline(m, consts(l.GroupSize[0], l.GroupSize[1], 1))
		wants(t, "large group", err, gpu.ErrLimit, "invocations")
		_, err = d.Pipeline(m, consts(0, 1, 1))
		wants(t, "empty group", err, gpu.ErrLimit)
		_, err = d.Pipeline(m, consts(1, 1, l.SharedMemory/4+1))
		wants(t, "shared memory", err, gpu.ErrLimit, "shared memory")
		must[*gpu.Pipeline](t)(d.Pipeline(m, consts(1, 1, l.SharedMemory/4)))
		_, err = d.Pipeline(m, append(consts(1, 1, 1), gpu.Constant{ID: 0, Value: 2}))
		wants(t, "constant twice", err, gpu.ErrArgument, "twice")

		change := func(do func(m *gpu.Module)) error {
			c := *m
			c.Code = slices.Clone(m.Code)
			do(&c)
			_, err := d.Pipeline(&c, nil)
			return err
		}
		wants(t, "too few bindings", change(func(m *gpu.Module) { m.Bindings = 1 }), gpu.ErrShader, "binding 1")
		wants(t, "too many bindings", change(func(m *gpu.Module) { m.Bindings = int(l.StorageBuffers) + 1 }), gpu.ErrLimit)
		wants(t, "push", change(func(m *gpu.Module) { m.PushBytes = int(l.PushBytes) + 4 }), gpu.ErrLimit, "push constants")
		wants(t, "odd push", change(func(m *gpu.Module) { m.PushBytes = 3 }), gpu.ErrLimit)
		wants(t, "no code", change(func(m *gpu.Module) { m.Code = nil }), gpu.ErrShader)
		wants(t, "odd code", change(func(m *gpu.Module) { m.Code = m.Code[:len(m.Code)-1] }), gpu.ErrShader, "words")
		wants(t, "text", change(func(m *gpu.Module) { m.Code = []byte("#version 450 void main(){}  ") }), gpu.ErrShader, "magic")
		wants(t, "cut short", change(func(m *gpu.Module) { m.Code = m.Code[:80] }), gpu.ErrShader)
		wants(t, "zero-length instruction", change(func(m *gpu.Module) { binary.LittleEndian.PutUint32(m.Code[20:], 0) }), gpu.ErrShader)
		_, err = d.Pipeline(nil, nil)
		wants(t, "nil module", err, gpu.ErrArgument)

		half, err := d.Pipeline(module(t, "half"), nil)
		if f := d.Info().Features; f.Float16 && f.Storage16 {
			check(t, err)
			v := buffer(t, d, slices.Repeat([]uint32{0x3c004000}, 16)...) // 1 and 2
			s := must[*gpu.Stream](t)(d.NewStream())
			check(t, s.Dispatch(half, [3]uint32{1, 1, 1}, nil, []gpu.Binding{{Buffer: v}}))
			finish(t, s)
			if got := contents(t, d, v); !slices.Equal(got, slices.Repeat([]uint32{0x40004400}, 16)) {
				t.Errorf("doubled halves are %x", got)
			}
		} else {
			wants(t, "16-bit floats", err, gpu.ErrLimit, "16-bit")
		}
	})
}

func TestSubgroupSize(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		f := d.Info().Features
		_, err := d.PipelineWith(module(t, "add"), nil, gpu.PipelineOptions{SubgroupSize: 3})
		wants(t, "size 3", err, gpu.ErrLimit, "subgroup size of 3")
		_, err = d.PipelineWith(module(t, "add"), nil, gpu.PipelineOptions{SubgroupSize: f.SubgroupMax, FullSubgroups: f.FullSubgroups})
		if f.SubgroupControl {
			check(t, err)
		} else {
			wants(t, "chosen size", err, gpu.ErrLimit)
		}
		if !f.FullSubgroups {
			_, err = d.PipelineWith(module(t, "add"), nil, gpu.PipelineOptions{FullSubgroups: true})
			wants(t, "full subgroups", err, gpu.ErrLimit)
		}
	})
}

// The reader of SPIR-V survives whatever it is given.
func TestDamagedModules(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	code := module(t, "shared").Code
	good := 0
	for range 20000 {
		c := slices.Clone(code)
		for range 1 + rng.IntN(4) {
			binary.LittleEndian.PutUint32(c[4*rng.IntN(len(c)/4):], uint32(rng.Uint64N(1<<rng.IntN(33))))
		}
		if rng.IntN(2) == 0 {
			c = c[:4*rng.IntN(len(c)/4)]
		}
		if gpu.Reflect(c, []gpu.Constant{{ID: rng.Uint32N(4), Value: rng.Uint32()}}) == nil {
			good++
		}
	}
	if good == 0 || good == 20000 {
		t.Errorf("%d of 20000 damaged modules passed for whole", good)
	}
}
