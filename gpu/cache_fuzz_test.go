//go:build cgo

package gpu

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// A pipeline cache is handed to the driver only whole: with another byte anywhere it is refused, and writing what was
// accepted gives the same file.
func FuzzCacheFile(f *testing.F) {
	c := cacheFile{what: "the cache", path: filepath.Join(f.TempDir(), "cache"), key: sha256.Sum256([]byte("a device")), log: slog.New(slog.DiscardHandler)}
	c.save([]byte("pipelines"))
	whole, err := os.ReadFile(c.path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:cacheHead])
	f.Add(append(bytes.Clone(whole), 0))
	f.Fuzz(func(t *testing.T, all []byte) {
		data, why := c.open(all)
		if (why == "") != (data != nil) && len(all) != cacheHead {
			t.Fatalf("%d bytes of data, and why is %q", len(data), why)
		}
		if why != "" {
			return
		}
		again := c
		again.path = filepath.Join(t.TempDir(), "again")
		again.save(data)
		got, err := os.ReadFile(again.path)
		if len(data) > 0 && (err != nil || !bytes.Equal(got, all)) {
			t.Fatalf("accepted, and written as another file: %v", err)
		}
	})
}
