//go:build cgo

package vk

/*
#include "shim.h"
#cgo noescape vkx_dispatch
#cgo nocallback vkx_dispatch
#cgo noescape vkx_copy
#cgo nocallback vkx_copy
#cgo noescape vkx_fill
#cgo nocallback vkx_fill
#cgo noescape vkx_stream_status
#cgo nocallback vkx_stream_status
#cgo noescape vkx_stream_begin
#cgo nocallback vkx_stream_begin
#cgo noescape vkx_stream_end
#cgo nocallback vkx_stream_end
#cgo noescape vkx_submit
#cgo nocallback vkx_submit
#cgo noescape vkx_stream_wait
#cgo nocallback vkx_stream_wait
*/
import "C"

import (
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// Device is a logical device with one queue. Creating and destroying different objects is safe for concurrent use;
// Submit and Idle are not: the caller holds a lock over them.
type Device struct {
	c        *C.vkx_device
	physical *Physical
}

// NewDevice makes a device with everything enabled that Physical reports, and swapchains if it shows pictures.
func (p *Physical) NewDevice(shows bool) (*Device, error) {
	d := &Device{physical: p}
	return d, failed("vkCreateDevice", C.vkx_device_new(p.instance.c, p.handle, C.uint32_t(p.Usable), flag(shows), &d.c))
}

// Close destroys the device; everything made from it must be gone.
func (d *Device) Close() {
	C.vkx_device_free(d.c)
	d.c = nil
}

// Idle waits until the device has finished all work.
func (d *Device) Idle() error {
	return failed("vkDeviceWaitIdle", C.Result(vulkan.DeviceWaitIdle(vulkan.Device(unsafe.Pointer(d.c.handle)))))
}

// TypeBits has bit k set when storage buffers may live in memory type k.
func (d *Device) TypeBits() (uint32, error) {
	var bits C.uint32_t
	err := failed("vkCreateBuffer", C.vkx_type_bits(d.c, &bits))
	return uint32(bits), err
}

// Block is a buffer with memory of its own.
type Block struct {
	c     C.vkx_block
	bytes []byte
}

// NewBlock makes a block of memory type t, mapped if asked.
func (d *Device) NewBlock(size int64, t int, mapped bool) (*Block, error) {
	b := &Block{}
	flag := C.int(0)
	if mapped {
		flag = 1
	}
	if err := failed("vkAllocateMemory", C.vkx_block_new(d.c, C.uint64_t(size), C.uint32_t(t), flag, &b.c)); err != nil {
		return nil, err
	}
	if b.c._map != nil {
		b.bytes = unsafe.Slice((*byte)(b.c._map), size)
	}
	return b, nil
}

// Bytes is the mapped memory, nil when it is not mapped. It must not be used after Close.
func (b *Block) Bytes() []byte { return b.bytes }

// Handle is the block's buffer.
func (b *Block) Handle() uint64 { return uint64(b.c.buffer) }

// Close frees the block.
func (b *Block) Close(d *Device) {
	C.vkx_block_free(d.c, &b.c)
	b.bytes = nil
}

// Layout is the interface of pipelines: so many storage buffers in set 0, so many bytes of push constants.
type Layout struct{ c *C.vkx_layout }

// NewLayout makes a layout.
func (d *Device) NewLayout(bindings, push uint32) (*Layout, error) {
	l := &Layout{}
	return l, failed("vkCreatePipelineLayout", C.vkx_layout_new(d.c, C.uint32_t(bindings), C.uint32_t(push), &l.c))
}

// Close destroys the layout.
func (l *Layout) Close(d *Device) { C.vkx_layout_free(d.c, l.c) }

// Cache is a pipeline cache; 0 is none.
type Cache uint64

// NewCache makes a pipeline cache from data that GetData gave, or an empty one.
func (d *Device) NewCache(data []byte) (Cache, error) {
	var h C.Handle
	err := failed("vkCreatePipelineCache", C.vkx_cache_new(d.c, unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)), &h))
	return Cache(h), err
}

// CacheData is what the cache holds now.
func (d *Device) CacheData(c Cache) ([]byte, error) {
	var n C.size_t
	if err := failed("vkGetPipelineCacheData", C.vkx_cache_data(d.c, C.Handle(c), nil, &n)); err != nil || n == 0 {
		return nil, err
	}
	data := make([]byte, n)
	if err := failed("vkGetPipelineCacheData", C.vkx_cache_data(d.c, C.Handle(c), unsafe.Pointer(&data[0]), &n)); err != nil {
		return nil, err
	}
	return data[:n], nil
}

// CloseCache destroys a cache.
func (d *Device) CloseCache(c Cache) {
	if c != 0 {
		C.vkx_cache_free(d.c, C.Handle(c))
	}
}

// Pipeline is a compute pipeline.
type Pipeline struct{ c *C.vkx_pipeline }

// Constant is the value of a specialization constant.
type Constant struct{ ID, Value uint32 }

// NewPipeline compiles code (SPIR-V words, entry point main). subgroup, when not 0, requires that subgroup size; full
// requires that no subgroup is partly empty.
func (d *Device) NewPipeline(c Cache, l *Layout, code []uint32, constants []Constant, subgroup uint32, full bool) (*Pipeline, error) {
	p := &Pipeline{}
	flag := C.int(0)
	if full {
		flag = 1
	}
	return p, failed("vkCreateComputePipelines", C.vkx_pipeline_new(d.c, C.Handle(c), l.c,
		(*C.uint32_t)(unsafe.SliceData(code)), C.size_t(len(code)*4),
		(*C.vkx_constant)(unsafe.Pointer(unsafe.SliceData(constants))), C.uint32_t(len(constants)), C.uint32_t(subgroup), flag, &p.c))
}

// Close destroys the pipeline.
func (p *Pipeline) Close(d *Device) { C.vkx_pipeline_free(d.c, p.c) }

// Bind is what one binding of a dispatch sees: a range of a block's buffer.
type Bind struct{ Buffer, Offset, Range uint64 }

// MaxBindings is the most that one dispatch may bind.
const MaxBindings = C.MAX_BINDS

// Stream records one submission. It is used by one goroutine at a time.
type Stream struct{ c *C.vkx_stream }

// NewStream makes a stream; Begin comes first.
func (d *Device) NewStream() (*Stream, error) {
	s := &Stream{}
	return s, failed("vkCreateCommandPool", C.vkx_stream_new(d.c, &s.c))
}

// Close destroys the stream; its submission must have finished.
func (s *Stream) Close() {
	C.vkx_stream_free(s.c)
	s.c = nil
}

// Begin forgets what was recorded and begins anew.
func (s *Stream) Begin() error { return failed("vkBeginCommandBuffer", C.vkx_stream_begin(s.c)) }

// Dispatch records one dispatch in a single call into C; wait puts a barrier before it. push and binds are read before
// it returns and must have the pipeline's sizes.
func (s *Stream) Dispatch(p *Pipeline, groups [3]uint32, push []byte, binds []Bind, wait bool) error {
	return failed("vkAllocateDescriptorSets", C.vkx_dispatch(s.c, p.c, C.uint32_t(groups[0]), C.uint32_t(groups[1]), C.uint32_t(groups[2]),
		unsafe.Pointer(unsafe.SliceData(push)), C.uint32_t(len(push)),
		(*C.vkx_bind)(unsafe.Pointer(unsafe.SliceData(binds))), C.uint32_t(len(binds)), flag(wait)))
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// Copy records a copy of n bytes, n > 0.
func (s *Stream) Copy(dst uint64, dstOff int64, src uint64, srcOff, n int64, wait bool) {
	C.vkx_copy(s.c, C.Handle(dst), C.uint64_t(dstOff), C.Handle(src), C.uint64_t(srcOff), C.uint64_t(n), flag(wait))
}

// Fill records the filling of n bytes, a multiple of 4 and not 0, with a word.
func (s *Stream) Fill(dst uint64, off, n int64, word uint32, wait bool) {
	C.vkx_fill(s.c, C.Handle(dst), C.uint64_t(off), C.uint64_t(n), C.uint32_t(word), flag(wait))
}

// Timestamp records a timestamp, written when everything before it is done.
func (s *Stream) Timestamp() error { return failed("vkCreateQueryPool", C.vkx_timestamp(s.c)) }

// End finishes the recording.
func (s *Stream) End() error { return failed("vkEndCommandBuffer", C.vkx_stream_end(s.c)) }

// Submit hands the recording to the queue. The caller holds the lock of the queue.
func (s *Stream) Submit() error { return failed("vkQueueSubmit", C.vkx_submit(s.c)) }

// Finished tells whether the submission is done.
func (s *Stream) Finished() (bool, error) {
	r := C.vkx_stream_status(s.c)
	if r == C.R_NOT_READY {
		return false, nil
	}
	return r == C.R_SUCCESS, failed("vkGetFenceStatus", r)
}

// Wait waits at most so many nanoseconds for the submission and tells whether it is done.
func (s *Stream) Wait(ns uint64) (bool, error) {
	r := C.vkx_stream_wait(s.c, C.uint64_t(ns))
	if r == C.R_TIMEOUT {
		return false, nil
	}
	return r == C.R_SUCCESS, failed("vkWaitForFences", r)
}

// Times reads the timestamps of a finished submission, in ticks.
func (s *Stream) Times(out []uint64) error {
	if len(out) == 0 {
		return nil
	}
	return failed("vkGetQueryPoolResults", C.vkx_stream_times(s.c, (*C.uint64_t)(unsafe.Pointer(&out[0]))))
}
