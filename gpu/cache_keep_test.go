//go:build cgo

package gpu

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// someCacheFile is a file in a folder of its own, and what it logs.
func someCacheFile(dir, device string) (CacheFile, *bytes.Buffer) {
	var said bytes.Buffer
	key := sha256.Sum256([]byte(device))
	return CacheFile{newCacheFile(dir, "the file of tests", "tests", key, slog.New(slog.NewTextHandler(&said, nil)))}, &said
}

// What is kept first stays, and all who keep something else are told so.
func TestKeepAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	for round := range 50 {
		const many = 8
		var all sync.WaitGroup
		var got [many][]byte
		for i := range many {
			all.Go(func() {
				c, _ := someCacheFile(dir, fmt.Sprint("device ", round))
				got[i] = c.Keep(fmt.Appendf(nil, "found by %d", i))
			})
		}
		all.Wait()
		c, said := someCacheFile(dir, fmt.Sprint("device ", round))
		kept := c.Load()
		for i, g := range got {
			if !bytes.Equal(g, kept) {
				t.Errorf("%d was told %q, and %q is kept", i, g, kept)
			}
		}
		if kept == nil || said.Len() > 0 {
			t.Errorf("%q is kept; log: %s", kept, said)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// What is no good is written anew.
func TestKeepOverDamage(t *testing.T) {
	dir := t.TempDir()
	c, said := someCacheFile(dir, "a device")
	other, _ := someCacheFile(t.TempDir(), "another device")
	other.Keep([]byte("of another"))
	foreign, err := os.ReadFile(other.Path())
	if err != nil {
		t.Fatal(err)
	}
	c.Keep([]byte("good"))
	whole, err := os.ReadFile(c.Path())
	if err != nil {
		t.Fatal(err)
	}
	for what, damaged := range map[string][]byte{"empty": {}, "cut short": whole[:len(whole)-1], "another device's": foreign, "text": bytes.Repeat([]byte("text "), 50)} {
		if err := os.WriteFile(c.Path(), damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := c.Load(); got != nil || !bytes.Contains(said.Bytes(), []byte("ignored")) {
			t.Errorf("%s: loaded %q; log: %s", what, got, said)
		}
		if got := c.Keep([]byte("anew")); string(got) != "anew" || string(c.Load()) != "anew" {
			t.Errorf("%s: kept %q, loaded %q", what, got, c.Load())
		}
		said.Reset()
	}
	c.Replace([]byte("other"))
	if got := c.Load(); string(got) != "other" {
		t.Errorf("replaced by %q", got)
	}
}

// Where nothing can be kept, that is logged and all goes on.
func TestKeepImpossible(t *testing.T) {
	if c, _ := someCacheFile("", "a device"); c.Path() != "" || c.Load() != nil || string(c.Keep([]byte("x"))) != "x" {
		t.Errorf("without a folder: path %q", c.Path())
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c, said := someCacheFile(filepath.Join(file, "below"), "a device")
	if got := c.Keep([]byte("x")); string(got) != "x" || !bytes.Contains(said.Bytes(), []byte("not written")) {
		t.Errorf("below a file: %q; log: %s", got, said)
	}
	c, said = someCacheFile(t.TempDir(), "a device")
	if err := os.MkdirAll(filepath.Join(c.Path(), "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := c.Keep([]byte("x")); string(got) != "x" || !bytes.Contains(said.Bytes(), []byte("not written")) {
		t.Errorf("a folder in the file's place: %q; log: %s", got, said)
	}
}
