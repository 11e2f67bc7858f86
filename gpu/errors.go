package gpu

import "errors"

// The kinds of failure, for errors.Is. The errors returned wrap one of them and say what was asked and what was allowed.
var (
	ErrNoLoader    = errors.New("no Vulkan loader")
	ErrNoDevice    = errors.New("no Vulkan device")
	ErrNoLayer     = errors.New("no validation layer")
	ErrNoCgo       = errors.New("built without cgo, so without Vulkan")
	ErrOutOfMemory = errors.New("out of device memory")
	ErrDeviceLost  = errors.New("device lost")
	ErrClosed      = errors.New("already closed") // the device, or the buffer or stream
	ErrTooLarge    = errors.New("too large for the device")
	ErrLimit       = errors.New("beyond a limit of the device")
	ErrArgument    = errors.New("bad argument")
	ErrShader      = errors.New("bad shader")
)
