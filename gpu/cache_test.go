//go:build cgo

package gpu_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// withCache opens the device with a cache folder, compiles and runs a pipeline, closes, and returns what was logged.
func withCache(t *testing.T, i gpu.Info, dir string) (log, path string) {
	t.Helper()
	var said bytes.Buffer
	d := must[*gpu.Device](t)(gpu.Open(gpu.Options{Device: i.Name, CacheDir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))}))
	p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "add"), nil))
	x, y := buffer(t, d, 1, 2), buffer(t, d, 3, 4)
	s := must[*gpu.Stream](t)(d.NewStream())
	add(t, s, p, x, y, 0, 0, 2)
	finish(t, s)
	if got := contents(t, d, x); !slices.Equal(got, []uint32{4, 6}) {
		t.Errorf("sums %v", got)
	}
	path = d.CachePath()
	check(t, d.Close())
	if m := d.Messages(); len(m) > 0 {
		t.Errorf("validation: %v", m)
	}
	return said.String(), path
}

func TestCacheFile(t *testing.T) {
	for _, i := range gputest.List(t) {
		t.Run(i.Driver, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "made", "on", "demand")
			_, path := withCache(t, i, dir)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("no cache was written: %v", err)
			}
			if log, _ := withCache(t, i, dir); strings.Contains(log, "WARN") {
				t.Errorf("a good cache gives %s", log)
			}
			whole, _ = os.ReadFile(path)
			flipped := func(at int) []byte {
				b := bytes.Clone(whole)
				b[at] ^= 0x10
				return b
			}
			for what, damaged := range map[string][]byte{
				"empty":            {},
				"head cut short":   whole[:40],
				"head alone":       whole[:80],
				"data cut short":   whole[:len(whole)-1],
				"data too long":    append(bytes.Clone(whole), 0),
				"other magic":      flipped(0),
				"another device's": flipped(9),
				"other sum":        flipped(41),
				"other length":     flipped(73),
				"one bit of data":  flipped(len(whole) - 1),
				"text":             []byte(strings.Repeat("not a cache ", 100)),
			} {
				if err := os.WriteFile(path, damaged, 0o644); err != nil {
					t.Fatal(err)
				}
				if log, _ := withCache(t, i, dir); !strings.Contains(log, "ignored") {
					t.Errorf("%s: not noticed; log: %s", what, log)
				}
				if after, err := os.ReadFile(path); err != nil || bytes.Equal(after, damaged) {
					t.Errorf("%s: not written anew (%v)", what, err)
				}
				if log, _ := withCache(t, i, dir); strings.Contains(log, "WARN") {
					t.Errorf("%s: what was written anew gives %s", what, log)
				}
			}
			left, _ := os.ReadDir(dir)
			if len(left) != 1 {
				t.Errorf("the folder holds %v, want the cache alone", left)
			}
		})
	}
}

// Where no cache can be kept, everything else works.
func TestCacheImpossible(t *testing.T) {
	i := gputest.List(t)[0]
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o644))
	if log, _ := withCache(t, i, filepath.Join(file, "below")); !strings.Contains(log, "not written") {
		t.Errorf("a folder that cannot be made gives %s", log)
	}
	if _, path := withCache(t, i, "off"); path != "" {
		t.Errorf("off gives %q", path)
	}
	dir := t.TempDir()
	_, path := withCache(t, i, dir)
	check(t, os.Remove(path))
	check(t, os.Mkdir(path, 0o755)) // a folder where the file should be
	check(t, os.WriteFile(filepath.Join(path, "x"), nil, 0o644))
	if log, _ := withCache(t, i, dir); !strings.Contains(log, "WARN") {
		t.Errorf("a folder in the file's place gives %s", log)
	}
	t.Setenv("VKCONV_CACHE", "off")
	if _, path := withCache(t, i, ""); path != "" {
		t.Errorf("VKCONV_CACHE=off gives %q", path)
	}
	t.Setenv("VKCONV_CACHE", dir)
	if _, path := withCache(t, i, ""); filepath.Dir(path) != dir {
		t.Errorf("VKCONV_CACHE=%s gives %q", dir, path)
	}
}
