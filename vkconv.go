// Package vkconv runs direct, dilated (atrous) and deformable 2-D convolution
// on any Vulkan device, and on the CPU where there is none.
//
// [Open] picks a device. An [Engine] makes tensors, which live on the device,
// and layers, which are planned once (algorithm chosen, weights packed and
// uploaded) and run many times. Running a layer only queues it: a chain of
// layers is one submission without a copy to the host, and only
// [Tensor.Download] waits.
//
// Tensors are float32 in NCHW order, or of another [conv.Type] for layers made with
// [Stored]. The operators are PyTorch's Conv2d and
// torchvision's deform_conv2d; package conv says what their parameters mean.
//
// [OpenFleet] opens several devices, over which its layers spread batches.
//
// # Contexts
//
// A call takes a context if it runs layers or waits for them: every Run,
// [Tensor.Download], [Engine.Wait] and [Engine.Time]. With a context that is done
// it does nothing and returns the context's error. One that ends while the call
// waits ends the waiting, not the work: what is queued on a device is computed
// all the same, and the engine stays of use; on the CPU path a run stops between
// tiles, and what it wrote is undefined. Only a layer in float64 there, a mode for
// checking, is one piece.
//
// Calls that plan, allocate or copy to the device (Open, New…, [Tensor.Upload],
// SetWeights, [Engine.Flush]) take none: a driver's compiler cannot be
// interrupted, and the rest is bounded by the size of its arguments. With
// Options.Tune, planning also runs kernels and waits for the device; [TuneUntil]
// gives that a context. Otherwise they do not
// wait for queued layers, except where those hold what the call needs: an upload
// of more than 24 MiB through staging memory, or an allocation beyond the memory
// that is free. Close waits for everything; Options.HangTimeout bounds it all on
// a device that hangs. What plans a whole model, such as package onnx, takes a
// context and looks at it between layers.
//
// # Diagnostics
//
// The library prints nothing. Options.Log gets, by level: Error, a device was lost
// or hangs; Warn, something does not work and was gone around, such as the CPU for
// a missing device or a pipeline cache that cannot be read; Info, the device that
// was opened and why that one; Debug, each layer planned, how it computes and how
// long its planning took. What the validation layer says is logged as Warn when the
// work is waited for. Running a layer logs nothing. What the caller can see by an
// error is returned and not logged, but for lost devices, whose many calls fail.
package vkconv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"vkconv/conv"
	"vkconv/gpu"
)

// ErrClosed is matched by the error of every call on an engine after Close, on
// a tensor after Free and on a layer after its Close.
var ErrClosed = errors.New("already closed")

// Options says how to open an engine; the zero value is a good choice.
type Options struct {
	// Device chooses: "cpu" for the CPU path; an index of [Devices] or a part of a
	// device's or driver's name, where nothing else will do; "" for $VKCONV_DEVICE
	// and without that the best Vulkan device (discrete, integrated, virtual,
	// software) or, where there is none, the CPU.
	Device string
	// Threads is how many cores the CPU path uses; 0 means GOMAXPROCS.
	Threads int
	// Validation runs under the Khronos validation layer; without the layer, Open fails.
	Validation bool
	// CacheDir keeps compiled pipelines; "" means $VKCONV_CACHE or the user's cache
	// directory, "off" means nowhere.
	CacheDir string
	// MemoryBudget is the most device memory to use, in bytes, on the CPU path that of tensors; 0 means what there is.
	MemoryBudget int64
	// HangTimeout is how long a Vulkan device may have work under way without any
	// of it coming to an end before it is given up as hung: calls that wait then
	// return an error matching gpu.ErrDeviceLost, and the engine is of no more use.
	// 0 means for ever. The longest chain of layers run at once must fit.
	HangTimeout time.Duration
	// Tune measures which kernel is the fastest when a convolution or its gradients
	// are planned, for about so long a shape, and keeps the answer in CacheDir: for
	// this device, driver and version of the kernels, so that planning the shape
	// again, also in other programs, takes the same kernel at once. 0, and no
	// $VKCONV_TUNE, leaves it to the cost model, whose choice depends on nothing but
	// the shape and the kind of device. Another kernel may add up in another order
	// and so give other last bits: what was kept gives the same bits every time, but
	// on another machine, or when the cache was cleared, another one may win. Planning
	// waits for the device then, and what runs there meanwhile falsifies what is
	// measured. What does not fit a binding and is computed in pieces, transposed
	// convolutions forward and float64 are not tuned. The CPU path ignores it: it has
	// one kernel for everything.
	Tune time.Duration
	// Log receives diagnostics (see the package's section on them); nil means
	// standard error from the level on that $VKCONV_LOG names, and without that none.
	Log *slog.Logger
}

// Engine is an open device. It is safe for use by several goroutines; layers
// run in the order of the calls.
type Engine struct {
	why string
	log *slog.Logger

	mu     sync.RWMutex // held for reading while a call is under way
	leave  func()       // mu.RUnlock, made once so that calls make none
	back   backend
	closed bool

	measuring sync.Mutex // held while roof is measured
	roof      Roofline   // zero until then
}

// Open opens a device. Where Options.Device and $VKCONV_DEVICE name none and
// there is no Vulkan device, it opens the CPU path, and [Engine.Why] says why.
func Open(o Options) (*Engine, error) {
	device := o.Device
	if device == "" {
		device = os.Getenv("VKCONV_DEVICE") // which package gpu reads, too, and names in its errors
	}
	if o.Threads < 0 {
		return nil, fmt.Errorf("%w: threads are %d, must be at least 0", conv.ErrParams, o.Threads)
	}
	if o.MemoryBudget < 0 {
		return nil, fmt.Errorf("%w: the memory budget is %d, must be at least 0", conv.ErrParams, o.MemoryBudget)
	}
	var err error
	if o.Log, err = logger(o); err != nil {
		return nil, err
	}
	if o.Tune, err = tuneBudget(o); err != nil {
		return nil, err
	}
	if device == "cpu" {
		return onCPU(o, "the CPU, as asked for"), nil
	}
	back, why, err := openVulkan(o)
	switch {
	case err == nil:
		return newEngine(back, why, o.Log), nil
	case device != "" || o.Validation || errors.Is(err, gpu.ErrArgument):
		return nil, err
	}
	o.Log.Warn("no Vulkan device, the CPU computes", "error", err)
	return onCPU(o, "the CPU, because "+err.Error()), nil
}

func onCPU(o Options, why string) *Engine {
	e := newEngine(newCPU(o), why, o.Log)
	o.Log.Info("opened", "device", e.Name()+", "+e.Driver())
	return e
}

func newEngine(back backend, why string, log *slog.Logger) *Engine {
	e := &Engine{back: back, why: why, log: log}
	e.leave = e.mu.RUnlock
	return e
}

// Close waits for queued work and gives the device back. It may be called twice.
func (e *Engine) Close() error {
	if e == nil || e.back == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	return e.back.close()
}

// use keeps the engine open until the returned function is called.
func (e *Engine) use() (func(), error) {
	if e == nil || e.back == nil {
		return nil, fmt.Errorf("engine: not made by Open, and so %w", ErrClosed)
	}
	e.mu.RLock()
	if e.closed {
		e.mu.RUnlock()
		return nil, errEngineClosed()
	}
	return e.leave, nil
}

func errEngineClosed() error { return fmt.Errorf("engine: %w", ErrClosed) }

// OnGPU reports whether the engine runs on a Vulkan device.
func (e *Engine) OnGPU() bool { return e.back.onGPU() }

// Name returns the device's name, such as "AMD Radeon RX 7900" or "CPU, 2 threads".
func (e *Engine) Name() string { return e.back.name() }

// Driver names the driver and its version; of the CPU path the instruction set.
func (e *Engine) Driver() string { return e.back.driver() }

// Why says in one sentence how the device came to be chosen.
func (e *Engine) Why() string { return e.why }

// Messages returns what the validation layer said so far.
func (e *Engine) Messages() []string { return e.back.messages() }

// Memory is device memory in bytes.
type Memory struct {
	InUse    int64 // in tensors and weights
	Reserved int64 // taken from the device, to be handed out
	Peak     int64 // the most ever in use
}

// Memory tells the memory in use on the device; the CPU path counts tensors.
func (e *Engine) Memory() Memory { return e.back.memory() }

// Flush submits the work queued so far without waiting for it.
func (e *Engine) Flush() error {
	done, err := e.use()
	if err != nil {
		return err
	}
	defer done()
	return e.back.flush()
}

// Wait submits the work queued so far and waits for it.
func (e *Engine) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done, err := e.use()
	if err != nil {
		return err
	}
	defer done()
	return e.back.wait(ctx)
}

// Timing is how long work took.
type Timing struct {
	Device time.Duration // between two timestamps on the device; the CPU path has Wall here
	Wall   time.Duration // from the first call to the end of waiting
}

// Time runs f, which runs layers and nothing else, as one submission of its
// own and tells how long it took. What other goroutines queue meanwhile counts too.
func (e *Engine) Time(ctx context.Context, f func() error) (Timing, error) {
	if f == nil {
		return Timing{}, fmt.Errorf("%w: there is nothing to time, the function is nil", conv.ErrParams)
	}
	if err := e.Wait(ctx); err != nil {
		return Timing{}, err
	}
	return e.back.time(ctx, f)
}

// backend computes on one device. Shapes and arguments have been checked.
type backend interface {
	onGPU() bool
	name() string
	driver() string
	messages() []string
	memory() Memory
	alloc(elements int, t conv.Type) (storage, error)
	cast(elements int, t conv.Type, narrow bool) (caster, error)
	conv2D(p conv.Problem, weight, bias []float32, o layerOptions) (operator, error)
	conv2DBackward(p conv.Problem, weight []float32, o layerOptions) (operator, error)
	deformConv2D(p conv.Problem, weight, bias []float32, o layerOptions) (operator, error)
	deformConv2DBackward(p conv.Problem, weight []float32, o layerOptions) (operator, error)
	convTranspose2D(t conv.Transposed, weight, bias []float32) (operator, error)
	convTranspose2DBackward(t conv.Transposed, weight []float32, o layerOptions) (operator, error)
	resize(r conv.Resize, backward bool) (operator, error)
	globalPool(p conv.GlobalPool, backward bool) (operator, error)
	add(elements int) (operator, error)
	activation(x conv.Shape, a conv.Activation, backward bool) (operator, error)
	window(p conv.Pool, backward bool) (operator, error)
	batchNorm(b conv.BatchNorm, pass normPass) (operator, error)
	sgd(elements int, o conv.SGD) (stepper, error)
	adam(elements int, o conv.Adam) (stepper, error)
	crossEntropy(c conv.CrossEntropy) (operator, error)
	double(d double, weight, bias []float64) (operator64, error)
	flush() error
	wait(ctx context.Context) error
	time(ctx context.Context, f func() error) (Timing, error)
	roofline(ctx context.Context) (Roofline, error)
	close() error
}

// storage is a tensor's memory; its bytes are in the host's order.
type storage interface {
	upload(data []byte) error
	download(ctx context.Context, dst []byte) error
	free()
}

// caster converts tensors of one length between float32 and a 16-bit type.
type caster interface {
	cast(to, from storage) error
}

// stores are an operator's operands, the outputs first, in its own order; nil where
// there is none. They go by value, so that a call leaves nothing on the heap.
type stores [maxOperands]storage

// operator is a planned layer. It runs on its operands.
type operator interface {
	run(ctx context.Context, operands stores) error
	setWeights(weight, bias []float32) error
	describe() string
	workspace() int64
	close()
}
