package tensorio

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapBytes maps an open file of size bytes, which is more than 0.
func mapBytes(f *os.File, size int64) (data []byte, unmap func() error, err error) {
	mapping, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, nil, os.NewSyscallError("CreateFileMapping", err)
	}
	defer windows.CloseHandle(mapping) // the view keeps it
	at, err := windows.MapViewOfFile(mapping, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, nil, os.NewSyscallError("MapViewOfFile", err)
	}
	// The address is the system's, not the collector's: read it as the pointer that it is.
	data = unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), int(size))
	return data, func() error { return windows.UnmapViewOfFile(at) }, nil
}
