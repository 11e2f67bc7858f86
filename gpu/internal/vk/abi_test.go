package vk_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The layouts of abi.h against the official headers, where those are installed (Debian: libvulkan-dev, or an SDK).
func TestLayouts(t *testing.T) {
	dir := "/usr/include"
	if sdk := os.Getenv("VULKAN_SDK"); sdk != "" {
		dir = filepath.Join(sdk, "include")
	}
	if _, err := os.Stat(filepath.Join(dir, "vulkan", "vulkan_core.h")); err != nil {
		if os.Getenv("VKCONV_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skipf("the layouts were not compared: no Vulkan headers (%v); set VULKAN_SDK", err)
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if out, err := exec.Command(cc, "-std=gnu11", "-fsyntax-only", "-I"+dir, "testdata/abi_check.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
