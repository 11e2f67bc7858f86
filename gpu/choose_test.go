//go:build cgo

package gpu_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

func TestChoose(t *testing.T) {
	t.Setenv("VKCONV_DEVICE", "")
	mixed := []gpu.Info{
		{Index: 0, Name: "llvmpipe (LLVM)", Driver: "llvmpipe", Type: gpu.Software},
		{Index: 1, Name: "Old Card", Type: gpu.Discrete, Unusable: "it speaks Vulkan 1.0, at least 1.1 is needed"},
		{Index: 2, Name: "Laptop Graphics", Driver: "Some Mesa driver", Type: gpu.Integrated},
		{Index: 3, Name: "Big Card", Driver: "Vendor", Type: gpu.Discrete},
		{Index: 4, Name: "Big Card", Driver: "Vendor", Type: gpu.Discrete},
		{Index: 5, Name: "Cloud", Type: gpu.Virtual},
		{Index: 6, Name: "Strange", Type: gpu.Other},
	}
	for _, c := range []struct {
		option, env string
		infos       []gpu.Info
		want        int
		says        string
	}{
		{"", "", mixed, 3, "first discrete"},
		{"", "", mixed[:3], 2, "first integrated"},
		{"", "", append([]gpu.Info{mixed[0]}, mixed[5:]...), 1, "first virtual"},
		{"", "", []gpu.Info{mixed[6], mixed[0]}, 1, "first software"},
		{"", "", mixed[6:], 0, "there is no other"},
		{"LLVM", "", mixed, 0, `option Device ("LLVM")`},
		{"mesa", "", mixed, 2, "option Device"},
		{"4", "", mixed, 4, "option Device"},
		{"", "laptop", mixed, 2, "environment variable VKCONV_DEVICE"},
		{"big", "laptop", mixed, 3, "option Device"}, // the option goes before the variable
		{"card", "", mixed, 3, "unusable: it speaks Vulkan 1.0"},
	} {
		t.Setenv("VKCONV_DEVICE", c.env)
		k, why, err := gpu.Choose(c.infos, gpu.Options{Device: c.option})
		if err != nil || k != c.want || !strings.Contains(why, c.says) {
			t.Errorf("option %q, variable %q: %d, %q, %v; want %d and %q", c.option, c.env, k, why, err, c.want, c.says)
		}
	}
	t.Setenv("VKCONV_DEVICE", "")
	for _, c := range []struct {
		option string
		infos  []gpu.Info
		says   string
	}{
		{"geforce", mixed, `"geforce"`},
		{"7", mixed, `"7"`},
		{"1", mixed, "Vulkan 1.0"},
		{"old", mixed, `"old"`},
		{"", mixed[1:2], "none is usable"},
	} {
		_, _, err := gpu.Choose(c.infos, gpu.Options{Device: c.option})
		wants(t, c.option, err, gpu.ErrNoDevice, c.says)
	}
}

func TestListed(t *testing.T) {
	for _, i := range gputest.List(t) {
		t.Log(i)
		l, f := i.Limits, i.Features
		if i.Name == "" || i.API[0] < 1 || l.StorageBufferRange < 1<<27 || l.BufferSize < 1<<27 || l.DeviceMemory <= 0 ||
			l.GroupInvocations < 128 || l.SharedMemory < 16384 || l.PushBytes < 128 || l.StorageBuffers < 4 || l.StorageAlign < 1 ||
			l.StorageAlign > 256 || f.SubgroupSize < 1 || f.SubgroupMin > f.SubgroupMax {
			t.Errorf("%s: limits below what Vulkan requires: %+v %+v", i, l, f)
		}
		if l.TimestampBits > 0 && l.TimestampPeriod <= 0 {
			t.Errorf("%s: timestamps with a period of %v", i, l.TimestampPeriod)
		}
		if f.CoopMatrix != nil {
			t.Logf("cooperative matrices: %v", f.CoopMatrix)
		}
		d := gputest.Open(t, gpu.Options{Device: i.Name})
		if got := d.Info().Name; got != i.Name || !strings.Contains(d.Chosen(), i.Name) {
			t.Errorf("asked for %s, got %s: %s", i.Name, got, d.Chosen())
		}
	}
}

// Without a driver the error says where the loader looked. In a process of its own: the loader reads its environment once.
func TestNoDriver(t *testing.T) {
	if os.Getenv("VKCONV_TEST_NO_DRIVER") == "1" {
		_, err := gpu.Devices(gpu.Options{})
		if _, e := gpu.Open(gpu.Options{}); !errors.Is(e, gpu.ErrNoDevice) && !errors.Is(e, gpu.ErrNoLoader) {
			t.Errorf("Open gives %v", e)
		}
		if errors.Is(err, gpu.ErrNoLoader) {
			t.Skip(err)
		}
		wants(t, "Devices", err, gpu.ErrNoDevice, "VK_DRIVER_FILES=/nowhere/at-all.json")
		t.Log(err)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNoDriver$", "-test.v")
	cmd.Env = append(os.Environ(), "VKCONV_TEST_NO_DRIVER=1", "VK_DRIVER_FILES=/nowhere/at-all.json", "VK_ICD_FILENAMES=/nowhere/at-all.json",
		"VKCONV_VALIDATION=")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// A word that nobody knows switches nothing off in silence.
func TestUnknownValidation(t *testing.T) {
	t.Setenv("VKCONV_VALIDATION", "yes")
	_, err := gpu.Open(gpu.Options{})
	wants(t, "Open", err, gpu.ErrArgument, `VKCONV_VALIDATION is "yes", it must be 0, 1 or gpu`)
}
