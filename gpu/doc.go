// Package gpu runs compute shaders on Vulkan devices. It knows memory, pipelines and streams of commands, and nothing of
// what the shaders compute.
//
//	d, err := gpu.Open(gpu.Options{})          // a device, chosen by flag, environment or kind
//	defer d.Close()
//	x, err := d.NewBuffer(4 << 20)             // a range of device memory
//	err = d.Upload(x, 0, bytes)
//	p, err := d.Pipeline(module, constants)    // compiled once, kept until Close
//	s, err := d.NewStream()
//	err = s.Dispatch(p, [3]uint32{64, 1, 1}, push, []gpu.Binding{{Buffer: x, Access: gpu.ReadWrite}})
//	sub, err := s.Submit()                     // returns at once; several may be in flight
//	err = d.Download(bytes, x, 0)              // waits for what was submitted before
//
// # Order
//
// A device has one queue. Streams run in the order of Submit, and each begins behind a barrier, so that it sees what the
// ones before it wrote. Inside a stream a barrier is put only where a command touches bytes that an earlier one wrote, or
// writes bytes that an earlier one read; commands that do not meet may overlap. The declared Access must be true: a
// shader's buffers should be qualified readonly or writeonly to match.
//
// # Environment
//
//	VKCONV_DEVICE      the device, like Options.Device
//	VKCONV_VALIDATION  1: the Khronos validation layer with synchronization checks, like Options.Validation
//	VKCONV_CACHE       the folder of pipeline caches, or off, like Options.CacheDir
//	VKCONV_STAGING     1: use staging buffers even where the processor can reach device memory (for tests)
//
// # Without cgo
//
// Built with CGO_ENABLED=0 the package has Info, Options, Devices and Open only, and the latter two return ErrNoCgo.
//
// All functions and methods are safe for use by several goroutines.
package gpu
