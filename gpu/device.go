//go:build cgo

package gpu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"vkconv/gpu/internal/vk"
)

var errClosedDevice = fmt.Errorf("gpu: %w: the device", ErrClosed)

// Device is an opened device with its queue, memory, pipelines and streams. Close it when done.
type Device struct {
	gate   gate
	info   Info
	chosen string
	log    *slog.Logger
	inst   *vk.Instance
	dev    *vk.Device
	lost   atomic.Bool
	hung   atomic.Bool // lost because it did not come to an end

	patience time.Duration // Options.HangTimeout
	cacheDir string        // "" = nothing is kept on disk

	telling sync.Mutex // held by tell
	checked bool       // under the validation layer
	told    uint64     // messages of the validation layer that are in the log

	pool  pool
	queue queue
	pipes pipelines
	stage staging

	closing sync.Mutex // held while Close works, so that a second Close returns when it is done
}

// Open chooses a device, by o.Device, VKCONV_DEVICE or kind, and opens it. The caller closes it.
func Open(o Options) (*Device, error) {
	if o.MemoryBudget < 0 {
		return nil, fmt.Errorf("gpu: %w: MemoryBudget is %d, it must be 0 (no limit of its own) or more", ErrArgument, o.MemoryBudget)
	}
	if o.HangTimeout < 0 {
		return nil, fmt.Errorf("gpu: %w: HangTimeout is %v, it must be 0 (wait for ever) or more", ErrArgument, o.HangTimeout)
	}
	inst, err := instance(o)
	if err != nil {
		return nil, err
	}
	d, err := open(inst, o)
	if err != nil {
		inst.Close()
		return nil, err
	}
	d.log.Info("opened", "device", d.chosen)
	return d, nil
}

func open(inst *vk.Instance, o Options) (*Device, error) {
	physical, infos, err := list(inst)
	if err != nil {
		return nil, err
	}
	k, why, err := choose(infos, o)
	if err != nil {
		return nil, err
	}
	p := physical[k]
	d := &Device{info: infos[k], chosen: why, inst: inst, log: o.Log, patience: o.HangTimeout, checked: inst.Validation() != vk.ValidateNothing}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.gate.empty = make(chan struct{}, 1)
	if d.dev, err = p.NewDevice(o.Surface != nil); err != nil {
		return nil, fmt.Errorf("gpu: %w: %s would not open: %w", ErrNoDevice, d.info, err)
	}
	bits, err := d.dev.TypeBits()
	if err != nil {
		d.dev.Close()
		return nil, fmt.Errorf("gpu: %w: %s: %w", ErrNoDevice, d.info, err)
	}
	buffers, stage := memoryTypes(d.info.Type, p.Memory, p.Heaps, bits)
	if buffers < 0 || stage < 0 {
		d.dev.Close()
		return nil, fmt.Errorf("gpu: %w: %s has no memory that buffers and staging could live in", ErrNoDevice, d.info)
	}
	t := p.Memory[buffers]
	forced := o.forceStaging || os.Getenv("VKCONV_STAGING") == "1"
	visible := t.Visible && t.Coherent && !forced
	d.info.Features.HostVisible = visible
	d.pool.init(d, buffers, visible, p.Heaps[t.Heap].Size, o.MemoryBudget)
	d.stage.init(stage, visible, visible && t.Cache)
	d.cacheDir = cacheDir(o.CacheDir, d.log)
	d.pipes.init(d)
	return d, nil
}

// Close waits for all work, destroys everything and, if pipelines were compiled, writes the pipeline cache. Calls under
// way in other goroutines are waited for; later ones return ErrClosed. Closing again does nothing and returns nil. What a
// hung device still works on can't be destroyed: Close returns ErrDeviceLost then and leaves it, memory included, to the
// end of the process.
func (d *Device) Close() error {
	d.closing.Lock()
	defer d.closing.Unlock()
	if !d.gate.close() {
		return nil
	}
	err := d.queue.drain(d)
	if d.hung.Load() && !d.queue.settle() {
		return fmt.Errorf("gpu: %w: %s still hangs; what it works on is left to it until the process ends", ErrDeviceLost, d.info.Name)
	}
	if lost := d.wrap(d.dev.Idle()); err == nil {
		err = lost
	}
	d.queue.close()
	d.pipes.close(d)
	d.stage.close(d)
	d.pool.close()
	d.dev.Close()
	d.tell()
	d.inst.Close()
	if d.lost.Load() {
		return nil // said by the call that lost it
	}
	return err
}

// Info is what the driver said about the device.
func (d *Device) Info() Info { return d.info }

// Chosen says in a sentence which device was chosen, why, and what else there was.
func (d *Device) Chosen() string { return d.chosen }

// Messages are the validation layer's warnings and errors so far (the last 128), also after Close: empty in health, and
// without validation.
func (d *Device) Messages() []string { return d.inst.Messages() }

// tell logs what the validation layer said since the last look.
func (d *Device) tell() {
	if !d.checked {
		return
	}
	d.telling.Lock()
	defer d.telling.Unlock()
	var lines []string
	lines, d.told = d.inst.MessagesFrom(d.told)
	for _, line := range lines {
		d.log.Warn("validation", "message", line)
	}
}

// LiveObjects counts the Vulkan objects that exist by kind: empty after Close in health.
func (d *Device) LiveObjects() map[string]int { return d.inst.Live() }

// WaitIdle waits until everything submitted is done.
func (d *Device) WaitIdle() error {
	if err := d.gate.enter(); err != nil {
		return err
	}
	defer d.gate.leave()
	return d.await(context.Background(), d.queue.last())
}

// wrap puts the kind of failure on an error of the shim.
func (d *Device) wrap(err error) error {
	if err == nil {
		return nil
	}
	var r *vk.Result
	if errors.As(err, &r) {
		switch {
		case r.Lost():
			d.lose()
			return fmt.Errorf("gpu: %w: %s stopped working (%w); close it and open it again", ErrDeviceLost, d.info.Name, err)
		case r.OutOfMemory():
			return fmt.Errorf("gpu: %w: %w", ErrOutOfMemory, err)
		}
	}
	return fmt.Errorf("gpu: %w", err)
}

// lose notes that the device is of no more use, and logs it once.
func (d *Device) lose() {
	if !d.lost.Swap(true) {
		d.log.Error("lost", "device", d.info.Name, "error", d.errLost())
	}
}

func (d *Device) errLost() error {
	if d.hung.Load() {
		return fmt.Errorf("gpu: %w: nothing finished on %s within the HangTimeout of %v; close it and open it again, or allow more", ErrDeviceLost, d.info.Name, d.patience)
	}
	return fmt.Errorf("gpu: %w: %s stopped working; close it and open it again", ErrDeviceLost, d.info.Name)
}
