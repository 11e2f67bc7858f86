//go:build cgo

// Package gputest opens devices for the tests of packages above gpu.
//
//	VKCONV_REQUIRE     "llvmpipe,SwiftShader": parts of device or driver names that must be there, or the test fails
//	VKCONV_VALIDATION  1 or gpu: with the Khronos validation layer (see package gpu); any message fails the test
package gputest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"vkconv/gpu"
)

// Devices runs f as a subtest for every usable device that the loader lists. After f it fails the test if the validation
// layer said anything, and closes the device and fails the test if a Vulkan object was left; with [Main] the devices stay
// open and the next test has their pipelines. Without any device the test is skipped, unless VKCONV_REQUIRE names one.
func Devices(t *testing.T, f func(t *testing.T, d *gpu.Device)) {
	t.Helper()
	if lasting == nil {
		DevicesWith(t, gpu.Options{}, f)
		return
	}
	for _, i := range List(t) {
		t.Run(short(i), func(t *testing.T) {
			d := lasting[i.Index]
			if d == nil {
				var err error
				if d, err = gpu.Open(gpu.Options{Device: strconv.Itoa(i.Index), CacheDir: "off"}); err != nil {
					t.Fatal(err)
				}
				lasting[i.Index] = d
			}
			before := len(d.Messages())
			t.Cleanup(func() {
				for _, m := range d.Messages()[before:] {
					t.Errorf("validation: %s", m)
				}
			})
			f(t, d)
		})
	}
}

// lasting are the devices that tests share, by index; nil without Main.
var lasting map[int]*gpu.Device

// Main runs the tests of a package whose calls of [Devices] share devices: what one test had a driver compile serves the
// next, and software drivers take long. At the end it closes them, and fails if the validation layer says anything or a
// Vulkan object is left. Without the validation layer dispatches bind buffers to their ends, so that guard bands show
// what shaders write or read outside.
func Main(m *testing.M) (status int) {
	lasting = map[int]*gpu.Device{}
	bindOn()
	status = m.Run()
	fail := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
		status = 1
	}
	for i, d := range lasting {
		before := len(d.Messages())
		if err := d.Close(); err != nil {
			fail("closing device %d: %v", i, err)
		}
		for _, m := range d.Messages()[before:] {
			fail("validation: %s", m)
		}
		if left := d.LiveObjects(); len(left) > 0 {
			fail("Vulkan objects left after closing device %d: %v", i, left)
		}
	}
	return status
}

// DevicesWith is Devices with options for Open (Device excepted). An empty CacheDir is a temporary folder here.
func DevicesWith(t *testing.T, o gpu.Options, f func(t *testing.T, d *gpu.Device)) {
	t.Helper()
	for _, i := range List(t) {
		t.Run(short(i), func(t *testing.T) {
			o := o
			o.Device = strconv.Itoa(i.Index)
			if o.CacheDir == "" {
				o.CacheDir = t.TempDir()
			}
			f(t, Open(t, o))
		})
	}
}

// List gives the usable devices; it fails the test when a required one is missing and skips it when there is none.
func List(t testing.TB) []gpu.Info {
	t.Helper()
	all, err := gpu.Devices(gpu.Options{})
	var usable []gpu.Info
	for _, i := range all {
		if i.Unusable == "" {
			usable = append(usable, i)
		} else {
			t.Logf("%s cannot be used: %s", i, i.Unusable)
		}
	}
	for _, want := range strings.Split(os.Getenv("VKCONV_REQUIRE"), ",") {
		want = strings.TrimSpace(want)
		if want == "" {
			continue
		}
		found := false
		for _, i := range usable {
			found = found || strings.Contains(strings.ToLower(i.Name+"\n"+i.Driver), strings.ToLower(want))
		}
		if !found {
			t.Fatalf("VKCONV_REQUIRE asks for %q and no usable device has that in its name or its driver's; there are: %v (%v)", want, usable, err)
		}
	}
	if len(usable) == 0 {
		if err == nil || errors.Is(err, gpu.ErrNoLoader) || errors.Is(err, gpu.ErrNoDevice) {
			t.Skipf("NOTHING WAS TESTED ON A GPU: %v (set VKCONV_REQUIRE to make this a failure)", err)
		}
		t.Fatal(err)
	}
	return usable
}

// Open opens one device for the length of the test, with the checks that Devices makes at the end.
func Open(t testing.TB, o gpu.Options) *gpu.Device {
	t.Helper()
	d, err := gpu.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("closing the device: %v", err)
		}
		for _, m := range d.Messages() {
			t.Errorf("validation: %s", m)
		}
		if left := d.LiveObjects(); len(left) > 0 {
			t.Errorf("Vulkan objects left after Close: %v", left)
		}
	})
	return d
}

func short(i gpu.Info) string {
	name, _, _ := strings.Cut(i.Name, " (")
	return strconv.Itoa(i.Index) + "_" + strings.ReplaceAll(name, " ", "_")
}
