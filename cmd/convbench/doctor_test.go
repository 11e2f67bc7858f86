package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"vkconv/gpu"
	"vkconv/gpu/survey"
)

// The whole report on machines that are made up: package survey's tests have more.
func TestDoctor(t *testing.T) {
	t.Setenv("VKCONV_DEVICE", "cpu")
	x86 := string(append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x3e\x00"), make([]byte, 44)...))
	icd := func(lib string) string {
		return fmt.Sprintf(`{"ICD": {"library_path": %q, "api_version": "1.3.230"}}`, lib)
	}
	system := func(goos string, env map[string]string, files map[string]string) survey.System {
		m := fstest.MapFS{}
		for name, content := range files {
			m[name] = &fstest.MapFile{Data: []byte(content)}
		}
		return survey.System{GOOS: goos, GOARCH: "amd64", Cgo: true, FS: m, Getenv: func(name string) string { return env[name] }, Home: "/home/ada", User: "ada",
			Open: func(string) error { return fs.ErrPermission }}
	}
	debian := map[string]string{
		"etc/os-release": "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\n",
		"usr/lib/x86_64-linux-gnu/libvulkan.so.1":  x86,
		"usr/lib/x86_64-linux-gnu/lvp.so":          x86,
		"usr/lib/x86_64-linux-gnu/radeon.so":       x86,
		"usr/share/vulkan/icd.d/lvp_icd.json":      icd("lvp.so"),
		"usr/share/vulkan/icd.d/radeon_icd.json":   icd("radeon.so"),
		"usr/share/vulkan/icd.d/gone_icd.json":     icd("gone.so"),
		"dev/dri/renderD128":                       "",
		"sys/bus/pci/devices/0000:03:00.0/class":   "0x030000",
		"sys/bus/pci/devices/0000:03:00.0/vendor":  "0x1002",
		"sys/bus/pci/devices/0000:03:00.0/device":  "0x744c",
		"sys/bus/pci/devices/0000:03:00.0/uevent":  "DRIVER=amdgpu\n",
		"usr/share/vulkan/explicit_layer.d/k.json": `{"layer": {"name": "VK_LAYER_KHRONOS_validation", "library_path": "lvp.so", "api_version": "1.4.309"}}`,
	}
	noCgo := system("linux", nil, map[string]string{"etc/os-release": "NAME=Plan\nID=plan"})
	noCgo.Cgo = false
	llvmpipe := gpu.Info{Name: "llvmpipe", Type: gpu.Software, Driver: "llvmpipe", API: [3]uint32{1, 3, 230},
		Features: gpu.Features{CoopMatrix: []gpu.CoopShape{{M: 8, N: 8, K: 8, A: "f16", B: "f16", C: "f32", Out: "f32"}, {M: 8, N: 8, K: 8, A: "f16", B: "f16", C: "f32", Out: "f32", Saturating: true}}}}
	old := gpu.Info{Index: 1, Name: "Old", Type: gpu.Discrete, Unusable: "it speaks Vulkan 1.0, at least 1.1 is needed", API: [3]uint32{1, 0, 3}}
	var got strings.Builder
	for _, c := range []struct {
		title   string
		s       survey.System
		devices []gpu.Info
		failed  error
		systems bool
	}{
		{"a GPU that the user may not open", system("linux", map[string]string{"VKCONV_VALIDATION": "1"}, debian), []gpu.Info{llvmpipe, old}, nil, false},
		{"an empty Windows", system("windows", nil, nil), nil, gpu.ErrNoLoader, false},
		{"an empty Mac, all commands", system("darwin", nil, nil), nil, gpu.ErrNoLoader, true},
		{"no cgo on a system without a name", noCgo, nil, gpu.ErrNoCgo, false},
	} {
		var out bytes.Buffer
		e := &env{stdout: &out, stderr: &out}
		status := e.finish(examine(e, c.s, c.devices, c.failed, c.systems))
		text := regexp.MustCompile(`(?m)^used .*\n( {10}.*\n)*`).ReplaceAllString(out.String(), "used      #\n") // this machine's
		fmt.Fprintf(&got, "== %s\n%sstatus %d\n\n", c.title, text, status)
	}
	const path = "testdata/doctor.golden"
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// On this machine, with a loader and without: it may find what it likes, but says something.
func TestDoctorHere(t *testing.T) {
	var out bytes.Buffer
	status := run(context.Background(), []string{"doctor"}, strings.NewReader(""), &out, &out)
	if !strings.Contains(out.String(), "\nused ") || status == 2 {
		t.Errorf("status %d:\n%s", status, &out)
	}
}
