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
//	VKCONV_VALIDATION  1: the Khronos validation layer with synchronization checks, like Options.Validation;
//	                   gpu: its checks inside shaders instead, which find what is read or written outside a buffer
//	VKCONV_CACHE       the folder of pipeline caches, or off, like Options.CacheDir
//	VKCONV_STAGING     1: use staging buffers even where the processor can reach device memory (for tests)
//
// # Memory
//
// Buffers are ranges of large blocks. Where the processor reaches device memory (integrated and software devices) uploads and
// downloads are plain copies; elsewhere, and when work in flight still uses the buffer, they go through staging buffers.
//
// # Failure
//
// Every error wraps one of the Err… values and says what was asked and what was allowed. A shader is checked against the
// device before a driver sees it: capabilities, workgroup size, shared memory, bindings. After ErrDeviceLost only Close is
// of use.
//
// # Platforms
//
// Nothing needs a window system. The loader is opened at run time: libvulkan.so.1, vulkan-1.dll, libvulkan.1.dylib or
// libMoltenVK.dylib. (On macOS the Go binding itself is linked against MoltenVK, so the Vulkan SDK must be installed to
// build.) Devices of Vulkan 1.1 and newer are used, newer features as they are found.
//
// # Without cgo
//
// Built with CGO_ENABLED=0 the package has Info, Options, Devices and Open only, and the latter two return ErrNoCgo.
//
// All functions and methods are safe for use by several goroutines.
package gpu
