package tensorio

import (
	"fmt"
	"math"
	"os"
)

// mapFile maps a file into memory for reading, where the system can; elsewhere it reads it.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, refuse(ErrFormat, "%s: is not a regular file", path)
	case info.Size() > math.MaxInt:
		return nil, nil, refuse(ErrFormat, "%s: has %d bytes, more than can be mapped", path, info.Size())
	case info.Size() == 0: // which cannot be mapped
		return nil, func() error { return nil }, nil
	}
	data, unmap, err = mapBytes(f, info.Size())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	return data, unmap, nil
}
