//go:build !cgo

package gpu

// Device cannot be had without cgo; the type is here so that its users compile.
type Device struct{}

// Devices returns ErrNoCgo.
func Devices(Options) ([]Info, error) { return nil, ErrNoCgo }

// Open returns ErrNoCgo.
func Open(Options) (*Device, error) { return nil, ErrNoCgo }

// Close does nothing.
func (*Device) Close() error { return nil }

// Info is empty.
func (*Device) Info() Info { return Info{} }

// Chosen is empty.
func (*Device) Chosen() string { return "" }

// Messages is empty.
func (*Device) Messages() []string { return nil }

// MemoryUse is zero.
func (*Device) MemoryUse() MemoryUse { return MemoryUse{} }
