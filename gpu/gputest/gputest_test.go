//go:build cgo

package gputest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"vkconv/gpu"
)

func TestDevices(t *testing.T) {
	Devices(t, func(t *testing.T, d *gpu.Device) { t.Log(d.Chosen()) })
}

// A required driver that is missing fails the test and is named.
func TestRequired(t *testing.T) {
	if os.Getenv("VKCONV_TEST_REQUIRED") == "1" {
		List(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestRequired$", "-test.v")
	cmd.Env = append(os.Environ(), "VKCONV_TEST_REQUIRED=1", "VKCONV_REQUIRE=no such driver, nor this")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), `"no such driver"`) {
		t.Errorf("a missing driver gives %v and\n%s", err, out)
	}
}
