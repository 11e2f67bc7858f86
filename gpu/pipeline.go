//go:build cgo

package gpu

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"vkconv/gpu/internal/vk"
)

// Module is a compute shader: entry point main, storage buffers at bindings 0 … Bindings-1 of set 0, one block of push
// constants.
type Module struct {
	Name      string // for messages
	Code      []byte // SPIR-V, little-endian words
	Bindings  int
	PushBytes int
}

// Constant sets a specialization constant by its ID. A float is given by its bits, a bool as 0 or 1.
type Constant struct{ ID, Value uint32 }

// PipelineOptions ask for what not every device has (see Features).
type PipelineOptions struct {
	SubgroupSize  uint32 // required size, a power of two between SubgroupMin and SubgroupMax; 0 = the driver's choice
	FullSubgroups bool   // no subgroup is partly empty; workgroup sizes must be multiples of the largest size
}

// Pipeline is a compiled shader. It lives until the device is closed.
type Pipeline struct {
	d              *Device
	vk             *vk.Pipeline
	name           string
	bindings, push int
	group          [3]uint32
}

// GroupSize is the number of invocations of a workgroup, by dimension, with the constants applied.
func (p *Pipeline) GroupSize() [3]uint32 { return p.group }

type pipeKey struct {
	sum            [32]byte
	bindings, push int
	o              PipelineOptions
}

// pipeEntry is filled by the first who asks; the others wait for ready.
type pipeEntry struct {
	ready chan struct{}
	p     *Pipeline
	err   error
}

type pipelines struct {
	mu      sync.Mutex
	made    map[pipeKey]*pipeEntry
	layouts map[[2]int]*vk.Layout
	cache   vk.Cache
	file    cacheFile
	dirty   bool
}

// Pipeline compiles a module with constants, or returns the pipeline made from the same before. Constants that are not
// given keep the shader's defaults. Concurrent callers share the work.
func (d *Device) Pipeline(m *Module, constants []Constant) (*Pipeline, error) {
	return d.PipelineWith(m, constants, PipelineOptions{})
}

// PipelineWith is Pipeline with options.
func (d *Device) PipelineWith(m *Module, constants []Constant, o PipelineOptions) (*Pipeline, error) {
	if err := d.gate.enter(); err != nil {
		return nil, err
	}
	defer d.gate.leave()
	if m == nil {
		return nil, fmt.Errorf("gpu: %w: the module is nil", ErrArgument)
	}
	key := pipeKey{m.hash(constants), m.Bindings, m.PushBytes, o}
	ps := &d.pipes
	ps.mu.Lock()
	e := ps.made[key]
	if e != nil {
		ps.mu.Unlock()
		<-e.ready
		return e.p, e.err
	}
	e = &pipeEntry{ready: make(chan struct{})}
	ps.made[key] = e
	ps.mu.Unlock()
	e.p, e.err = d.compile(m, constants, o)
	if e.err != nil {
		ps.mu.Lock()
		delete(ps.made, key) // so that a passing failure, like memory, can be tried again
		ps.mu.Unlock()
	}
	close(e.ready)
	return e.p, e.err
}

func (m *Module) hash(constants []Constant) (sum [32]byte) {
	h := sha256.New()
	var b [8]byte
	for _, c := range constants {
		binary.LittleEndian.PutUint32(b[:4], c.ID)
		binary.LittleEndian.PutUint32(b[4:], c.Value)
		h.Write(b[:])
	}
	h.Write([]byte{0})
	h.Write(m.Code)
	h.Sum(sum[:0])
	return sum
}

func (d *Device) compile(m *Module, constants []Constant, o PipelineOptions) (*Pipeline, error) {
	code := make([]uint32, len(m.Code)/4)
	for k := range code {
		code[k] = binary.LittleEndian.Uint32(m.Code[4*k:])
	}
	group, err := d.checkModule(m, code, constants, o)
	if err != nil {
		return nil, err
	}
	l, err := d.layout(m.Bindings, m.PushBytes)
	if err != nil {
		return nil, d.wrap(err)
	}
	values := make([]vk.Constant, len(constants))
	for k, c := range constants {
		values[k] = vk.Constant(c)
	}
	p, err := d.dev.NewPipeline(d.pipes.cache, l, code, values, o.SubgroupSize, o.FullSubgroups)
	if err != nil {
		if err = d.wrap(err); !errors.Is(err, ErrOutOfMemory) && !errors.Is(err, ErrDeviceLost) {
			err = fmt.Errorf("%w: the driver %s does not build it (%w); update the driver, or use another device", ErrShader, d.info.DriverText(), err)
		}
		return nil, fmt.Errorf("pipeline %s: %w", m.Name, err)
	}
	d.pipes.mu.Lock()
	d.pipes.dirty = true
	d.pipes.mu.Unlock()
	return &Pipeline{d: d, vk: p, name: m.Name, bindings: m.Bindings, push: m.PushBytes, group: group}, nil
}

func (d *Device) checkModule(m *Module, code []uint32, constants []Constant, o PipelineOptions) ([3]uint32, error) {
	l, f := &d.info.Limits, &d.info.Features
	var group [3]uint32
	fail := func(kind error, format string, args ...any) ([3]uint32, error) {
		return group, fmt.Errorf("gpu: %w: shader %s: %s", kind, m.Name, fmt.Sprintf(format, args...))
	}
	if len(m.Code)%4 != 0 {
		return fail(ErrShader, "%d bytes of SPIR-V are not whole words", len(m.Code))
	}
	if m.Bindings < 0 || uint32(m.Bindings) > l.StorageBuffers {
		return fail(ErrLimit, "%d bindings; %s allows %d", m.Bindings, d.info.Name, l.StorageBuffers)
	}
	if m.PushBytes < 0 || m.PushBytes%4 != 0 || m.PushBytes > int(l.PushBytes) {
		return fail(ErrLimit, "%d bytes of push constants; %s allows up to %d, in multiples of 4", m.PushBytes, d.info.Name, l.PushBytes)
	}
	if n := o.SubgroupSize; n != 0 && (!f.SubgroupControl || n&(n-1) != 0 || n < f.SubgroupMin || n > f.SubgroupMax) {
		return fail(ErrLimit, "a subgroup size of %d; %s has sizes %d to %d (choice: %t)", n, d.info.Name, f.SubgroupMin, f.SubgroupMax, f.SubgroupControl)
	}
	if o.FullSubgroups && !f.FullSubgroups {
		return fail(ErrLimit, "full subgroups are asked for; %s cannot promise them", d.info.Name)
	}
	seen := map[uint32]bool{}
	for _, c := range constants {
		if seen[c.ID] {
			return fail(ErrArgument, "constant %d is given twice", c.ID)
		}
		seen[c.ID] = true
	}
	r, err := reflectModule(code, constants)
	if err != nil {
		return fail(ErrShader, "%v", err)
	}
	group = r.group
	if r.bindings > m.Bindings {
		return fail(ErrShader, "it uses binding %d, the module declares %d bindings", r.bindings-1, m.Bindings)
	}
	if what := r.lacks(f); what != "" {
		return fail(ErrLimit, "it needs %s, which %s does not have", what, d.info.Name)
	}
	total := uint64(1)
	for k, n := range group {
		if n == 0 || n > l.GroupSize[k] {
			return fail(ErrLimit, "workgroups of %d×%d×%d; %s allows 1 to %d in dimension %d", group[0], group[1], group[2], d.info.Name, l.GroupSize[k], k)
		}
		total *= uint64(n)
	}
	if total > uint64(l.GroupInvocations) {
		return fail(ErrLimit, "workgroups of %d×%d×%d = %d invocations; %s allows %d", group[0], group[1], group[2], total, d.info.Name, l.GroupInvocations)
	}
	if r.shared > uint64(l.SharedMemory) {
		return fail(ErrLimit, "%d bytes of shared memory; %s allows %d", r.shared, d.info.Name, l.SharedMemory)
	}
	return group, nil
}

func (d *Device) layout(bindings, push int) (*vk.Layout, error) {
	ps := &d.pipes
	ps.mu.Lock()
	defer ps.mu.Unlock()
	key := [2]int{bindings, push}
	if l := ps.layouts[key]; l != nil {
		return l, nil
	}
	l, err := d.dev.NewLayout(uint32(bindings), uint32(push))
	if err == nil {
		ps.layouts[key] = l
	}
	return l, err
}

func (ps *pipelines) init(d *Device) {
	ps.made = map[pipeKey]*pipeEntry{}
	ps.layouts = map[[2]int]*vk.Layout{}
	ps.file = newCacheFile(d.cacheDir, "the pipeline cache", "pipelines", sha256.Sum256(d.info.identity()), d.log)
	data := ps.file.load()
	var err error
	if ps.cache, err = d.dev.NewCache(data); err != nil && len(data) > 0 {
		d.log.Warn("the driver refused the pipeline cache; beginning an empty one", "file", ps.file.path, "error", err)
		ps.cache, err = d.dev.NewCache(nil)
	}
	if err != nil {
		ps.cache = 0 // pipelines can be made without
		d.log.Warn("no pipeline cache", "error", err)
	}
}

func (ps *pipelines) close(d *Device) {
	if ps.dirty && ps.cache != 0 && !d.lost.Load() {
		if data, err := d.dev.CacheData(ps.cache); err != nil {
			d.log.Warn("the pipeline cache could not be read back", "error", err)
		} else {
			ps.file.save(data)
		}
	}
	for _, e := range ps.made {
		e.p.vk.Close(d.dev)
	}
	for _, l := range ps.layouts {
		l.Close(d.dev)
	}
	d.dev.CloseCache(ps.cache)
	ps.made, ps.layouts, ps.cache = nil, nil, 0
}
