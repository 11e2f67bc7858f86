package tensorio

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Archive is an open .npz file. Its arrays are read one at a time, when asked for.
type Archive struct {
	path  string
	close func() error
	size  int64
	zip   *zip.Reader
}

// OpenNPZ opens an archive and reads its directory, nothing else.
func OpenNPZ(path string) (*Archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = refuse(ErrFormat, "%s: is a directory, must be an .npz file", path)
	}
	var a *Archive
	if err == nil {
		a, err = NewArchive(path, f, info.Size())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	a.close = f.Close
	return a, nil
}

// NewArchive is [OpenNPZ] for an archive of size bytes that is open, or in
// memory, already; path is what its errors call it.
func NewArchive(path string, r io.ReaderAt, size int64) (*Archive, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		if errors.Is(err, zip.ErrFormat) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, refuse(ErrFormat, "%s: not an .npz archive, or cut short: it has no zip directory at its end", path)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := checkDirectory(z, size); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Archive{path: path, size: size, zip: z}, nil
}

// checkDirectory refuses what makes a small archive read as a large one, and names
// that stand for two arrays: entries that share bytes of the file, and entries that
// claim more than deflate can make of what they hold. So reading all arrays
// takes at most 1032 times the file's size.
func checkDirectory(z *zip.Reader, size int64) error {
	seen := map[string]bool{}
	left := uint64(size)
	for _, f := range z.File {
		if seen[f.Name] {
			return refuse(ErrFormat, "two entries are called %q", f.Name)
		}
		seen[f.Name] = true
		if f.CompressedSize64 > left {
			return refuse(ErrFormat, "the entries up to %q claim more bytes than the file's %d", f.Name, size)
		}
		left -= f.CompressedSize64
		// Deflate's longest match: 258 bytes for 2 bits.
		if most := 1032 * (f.CompressedSize64 + 1); f.UncompressedSize64 > most {
			return refuse(ErrFormat, "entry %q claims %d bytes, its %d compressed ones make at most %d", f.Name, f.UncompressedSize64, f.CompressedSize64, most)
		}
	}
	return nil
}

// Close closes the file that [OpenNPZ] opened.
func (a *Archive) Close() error {
	if a.close == nil {
		return nil
	}
	return a.close()
}

// Path returns what the archive's errors call it.
func (a *Archive) Path() string { return a.path }

// Names returns the names of the arrays, without ".npy", in the archive's order.
func (a *Archive) Names() []string {
	var names []string
	for _, f := range a.zip.File {
		if name, ok := strings.CutSuffix(f.Name, ".npy"); ok {
			names = append(names, name)
		}
	}
	return names
}

// Has reports whether the archive has an array of this name.
func (a *Archive) Has(name string) bool { return slices.Contains(a.Names(), name) }

// Array reads one array, compressed or not. The error matches [ErrMissing]
// where there is none of this name.
func (a *Archive) Array(name string) (Array, error) {
	for _, f := range a.zip.File {
		if f.Name == name+".npy" {
			array, err := a.read(f)
			if err != nil {
				return Array{}, fmt.Errorf("%s: array %q %w", a.path, name, err)
			}
			return array, nil
		}
	}
	return Array{}, refuse(ErrMissing, "%s: array %q is missing, the archive has %s", a.path, name, list(a.Names()))
}

func (a *Archive) read(f *zip.File) (Array, error) {
	if f.UncompressedSize64 > MaxArrayBytes+maxHeaderBytes {
		return Array{}, refuse(ErrFormat, "claims %d bytes, at most %d are read", f.UncompressedSize64, int64(MaxArrayBytes))
	}
	r, err := f.Open()
	if err != nil {
		return Array{}, fmt.Errorf("cannot be read: %w", damage(err))
	}
	defer r.Close()
	return readNPY(r, int64(f.UncompressedSize64))
}

// list writes names as "a, b, c".
func list(names []string) string {
	if len(names) == 0 {
		return "no arrays"
	}
	const most = 12
	if len(names) > most {
		names = append(slices.Clone(names[:most]), "…")
	}
	return strings.Join(names, ", ")
}

// ReadNPZ reads all arrays of an archive.
func ReadNPZ(path string) (map[string]Array, error) {
	a, err := OpenNPZ(path)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	arrays := make(map[string]Array)
	for _, name := range a.Names() {
		if arrays[name], err = a.Array(name); err != nil {
			return nil, err
		}
	}
	return arrays, nil
}

// WriteNPZ writes an uncompressed archive as numpy.savez does, arrays in the
// order of their names and without times of day, so that equal arrays give
// equal files. It appears under its name whole or not at all.
func WriteNPZ(path string, arrays map[string]Array) error {
	return writeNPZ(path, arrays, zip.Store)
}

// WriteNPZCompressed is [WriteNPZ] with deflate, as numpy.savez_compressed.
func WriteNPZCompressed(path string, arrays map[string]Array) error {
	return writeNPZ(path, arrays, zip.Deflate)
}

func writeNPZ(path string, arrays map[string]Array, method uint16) error {
	return WriteFile(path, func(w io.Writer) error {
		z := zip.NewWriter(w)
		for _, name := range slices.Sorted(maps.Keys(arrays)) {
			entry, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: method})
			if err != nil {
				return err
			}
			if err := arrays[name].write(entry); err != nil {
				return fmt.Errorf("array %q %w", name, err)
			}
		}
		return z.Close()
	})
}

// WriteFile writes a file that appears under its name only when it is whole:
// under another name in the same directory first, then renamed. If anything
// fails, nothing is left behind and what was there before stays.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	dir, base := filepath.Split(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("cannot write %s: it is a directory", path)
	}
	var f *os.File
	for i := 0; ; i++ { // not os.CreateTemp, whose files only their owner may read
		f, err = os.OpenFile(filepath.Join(dir, fmt.Sprintf(".%s.%d.%d", base, os.Getpid(), i)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) || i == 100 {
			return fmt.Errorf("cannot write %s: %w", path, cause(err))
		}
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("cannot write %s: %w", path, cause(err))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// cause drops the temporary file's name from an error.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}
