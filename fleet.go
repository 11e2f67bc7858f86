package vkconv

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"

	"vkconv/conv"
	"vkconv/gpu"
)

// Fleet is several open devices that compute batches together. Its layers take
// and give slices of the host, a batch of N images each, and spread the images
// over the devices, whole ones, in proportion to how fast each device is at that
// layer:
//
//	batch      image 0 │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │ 7
//	device     ─────── first ───────── │ ─ second ─
//
// Every device has the layer for one image ([ImagesAtOnce] for some), planned once,
// and computes its images with that, one behind the other and at the same time as the
// other devices. So an image has the bits that the device which got it gives it alone,
// whatever else is in the batch. Another device may give it other bits, and the shares
// follow measured speed: the bits may differ from call to call, always within the
// bound. [Fleet.FixShares] keeps them the same.
//
// A device that is lost in the midst of a run (gpu.ErrDeviceLost; one that hangs
// after Options.HangTimeout) is left out from then on: the others compute its
// images, and the run succeeds. When the last is lost, the CPU computes if no
// device was named to [OpenFleet]; otherwise runs return an error that matches
// gpu.ErrDeviceLost. Any other error of a device is returned.
//
// A layer takes on each device its weights, and its images and results, as many at a
// time as 64 MiB hold, at least one and at most 64; backward three times the gradient by
// the weight besides.
//
// A fleet is safe for use by several goroutines; each of its layers runs once at a
// time.
type Fleet struct {
	opt     Options
	members []*member

	mu      sync.Mutex
	closed  bool
	weights []float64 // of [Fleet.FixShares], nil where shares follow speed
}

// member is one device of a fleet.
type member struct {
	engine *Engine
	spare  bool  // computes only when no other is left
	lost   error // why it is left out, nil while it is not; under the fleet's lock
}

// OpenFleet opens several devices with the same options. They are named as in
// Options.Device, and every one has to open; "cpu" is the CPU path. Without names,
// in o and $VKCONV_DEVICE neither, they are all Vulkan devices of the kind that
// [Open] would choose (discrete, integrated, virtual, software), without those that
// do not open, and the CPU path stands by; where there is none, they are the CPU
// path alone.
func OpenFleet(o Options, devices ...string) (*Fleet, error) {
	if len(devices) > 0 && o.Device != "" {
		return nil, fmt.Errorf("%w: Options.Device is %q, must be empty where devices are named: %q", conv.ErrParams, o.Device, devices)
	}
	if one := cmp.Or(o.Device, os.Getenv("VKCONV_DEVICE")); len(devices) == 0 && one != "" {
		devices = []string{one}
	}
	log, err := logger(o)
	if err != nil {
		return nil, err
	}
	o.Log, o.Device = log, ""
	f := &Fleet{opt: o}
	if len(devices) > 0 {
		err = f.openNamed(devices)
	} else {
		err = f.openBest()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Fleet) open(device string) error {
	o := f.opt
	o.Device = device
	e, err := Open(o)
	if err == nil {
		f.members = append(f.members, &member{engine: e})
	}
	return err
}

func (f *Fleet) openNamed(devices []string) error {
	for _, d := range devices {
		if err := f.open(d); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) openBest() error {
	infos, _ := Devices() // where there are none, Open says why
	infos = slices.DeleteFunc(infos, func(i gpu.Info) bool { return i.Unusable != "" })
	best := gpu.DeviceType(math.MaxInt)
	for _, i := range infos {
		best = min(best, i.Type)
	}
	for _, i := range infos {
		if i.Type != best {
			continue
		}
		if err := f.open(strconv.Itoa(i.Index)); err != nil {
			f.opt.Log.Warn("a device does not open, the fleet does without it", "device", i.String(), "error", err)
		}
	}
	if len(f.members) == 0 {
		return f.open("") // the CPU path, unless the options forbid it
	}
	f.members = append(f.members, &member{engine: onCPU(f.opt, "the CPU, for when every device is lost"), spare: true})
	return nil
}

// Close waits for queued work and gives the devices back. It may be called twice.
func (f *Fleet) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	var all []error
	for _, m := range f.members {
		all = append(all, m.engine.Close())
	}
	return errors.Join(all...)
}

// Engines returns the devices that are not lost, in the order in which they were
// named or found, or when all are lost the CPU path that stood by. They may be used for
// other work, too; the fleet closes them.
func (f *Fleet) Engines() []*Engine {
	f.mu.Lock()
	defer f.mu.Unlock()
	var engines []*Engine
	for _, i := range f.active() {
		engines = append(engines, f.members[i].engine)
	}
	return engines
}

// FixShares spreads batches in proportion to these weights, one a device in the
// order of [OpenFleet], from the next run on, instead of by measured speed. Then,
// as long as no device is lost, the same call gives the same bits. A device of
// weight 0 gets images only when those of other weights are lost. Without weights
// the shares follow measured speed again. Errors match [conv.ErrParams].
func (f *Fleet) FixShares(weights ...float64) error {
	devices := 0
	for _, m := range f.members {
		if !m.spare {
			devices++
		}
	}
	if len(weights) != devices && len(weights) > 0 {
		return fmt.Errorf("%w: %d weights for the shares of %d devices, must be one a device", conv.ErrParams, len(weights), devices)
	}
	for _, w := range weights {
		if !(w >= 0) || math.IsInf(w, 1) {
			return fmt.Errorf("%w: a share's weight is %v, must be a finite number of at least 0", conv.ErrParams, w)
		}
	}
	if len(weights) > 0 && slices.Max(weights) == 0 {
		return fmt.Errorf("%w: every share's weight is 0, must be more for one", conv.ErrParams)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.weights = slices.Clone(weights)
	return nil
}

// active are the members that may compute: those that are not lost, or where none
// is left the spare. Called with f.mu held.
func (f *Fleet) active() (members []int) {
	for _, spare := range []bool{false, true} {
		for i, m := range f.members {
			if m.spare == spare && m.lost == nil {
				members = append(members, i)
			}
		}
		if members != nil {
			break
		}
	}
	return members
}

func (f *Fleet) isLost(i int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[i].lost != nil
}

// drop leaves a lost device out from now on.
func (f *Fleet) drop(i int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[i]
	if m.lost != nil {
		return
	}
	m.lost = err
	left := f.active()
	switch {
	case len(left) == 0:
		f.opt.Log.Error("the fleet's last device is lost", "device", m.engine.Name(), "error", err)
	case f.members[left[0]].spare:
		f.opt.Log.Warn("every device of the fleet is lost, the CPU computes", "device", m.engine.Name(), "error", err)
	default:
		f.opt.Log.Warn("a device of the fleet is lost, the others compute its images", "device", m.engine.Name(), "left", len(left), "error", err)
	}
}

// errLost is the error of a fleet without a device.
func (f *Fleet) errLost() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []error
	for _, m := range f.members {
		if m.lost != nil {
			all = append(all, fmt.Errorf("%s: %w", m.engine.Name(), m.lost))
		}
	}
	return fmt.Errorf("every device of the fleet is lost: %w", errors.Join(all...))
}
