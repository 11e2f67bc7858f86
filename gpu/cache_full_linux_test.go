//go:build cgo

package gpu

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk that is full fails a write in the middle. A limit on the length of files does the same without one: in a process
// of its own, whose other files would suffer, too.
func TestKeepOnFullDisk(t *testing.T) {
	const marker = "VKCONV_TEST_FULL_DISK"
	if dir := os.Getenv(marker); dir != "" {
		signal.Ignore(unix.SIGXFSZ)
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: cacheHead + 2, Max: cacheHead + 2}); err != nil {
			t.Fatal(err)
		}
		c, said := someCacheFile(dir, "a device")
		if got := c.Keep([]byte("found out")); string(got) != "found out" || !bytes.Contains(said.Bytes(), []byte("not written")) {
			t.Errorf("kept %q; log: %s", got, said)
		}
		c.Replace([]byte("found out"))
		if got := c.Load(); got != nil {
			t.Errorf("%q was loaded", got)
		}
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKeepOnFullDisk$")
	cmd.Env = append(os.Environ(), marker+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
