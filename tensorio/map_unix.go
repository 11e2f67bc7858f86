//go:build unix

package tensorio

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapBytes maps an open file of size bytes, which is more than 0.
func mapBytes(f *os.File, size int64) (data []byte, unmap func() error, err error) {
	data, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return data, func() error { return unix.Munmap(data) }, nil
}
