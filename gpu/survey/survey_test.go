package survey

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"vkconv/gpu"
)

// library is the head of an ELF library for a machine.
func library(m elf.Machine) string {
	head := make([]byte, 64)
	copy(head, elf.ELFMAG)
	head[elf.EI_CLASS], head[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	head[18], head[19] = byte(m), byte(m>>8)
	return string(head)
}

// machine makes a system of these files and variables.
func machine(goos string, files, env map[string]string, closed ...string) System {
	m := fstest.MapFS{}
	for name, content := range files {
		m[inside(name)] = &fstest.MapFile{Data: []byte(content)}
	}
	return System{GOOS: goos, GOARCH: "amd64", Cgo: true, FS: m, Getenv: func(name string) string { return env[name] }, Home: "/home/ada", User: "ada",
		Open: func(p string) error {
			for _, c := range closed {
				if c == p {
					return fs.ErrPermission
				}
			}
			return nil
		}}
}

// with is a map with more in it.
func with(m map[string]string, pairs ...string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

func icd(lib string) string {
	return fmt.Sprintf(`{"ICD": {"library_path": %q, "api_version": "1.3.230"}, "file_format_version": "1.0.0"}`, lib)
}

var (
	x86    = library(elf.EM_X86_64)
	debian = map[string]string{
		"/etc/os-release":                                    "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n",
		"/usr/lib/x86_64-linux-gnu/libvulkan.so.1":           x86,
		"/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so":         x86,
		"/usr/share/vulkan/icd.d/lvp_icd.x86_64.json":        icd("/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so"),
		"/usr/share/vulkan/explicit_layer.d/validation.json": `{"layer": {"name": "VK_LAYER_KHRONOS_validation", "library_path": "libvulkan_lvp.so", "api_version": "1.3.239"}}`,
	}
	radeon = []string{"/usr/share/vulkan/icd.d/radeon_icd.x86_64.json", icd("libvulkan_radeon.so"), "/usr/lib/x86_64-linux-gnu/libvulkan_radeon.so", x86}
)

// card is the files of a GPU on PCI.
func card(vendor, driver string) []string {
	const at = "/sys/bus/pci/devices/0000:01:00.0/"
	files := []string{at + "class", "0x030000\n", at + "vendor", vendor + "\n", at + "device", "0x1234\n"}
	if driver != "" {
		files = append(files, at+"uevent", "DRIVER="+driver+"\n")
	}
	return files
}

var (
	llvmpipe = gpu.Info{Name: "llvmpipe", Type: gpu.Software, Driver: "llvmpipe"}
	old      = gpu.Info{Index: 1, Name: "an old GPU", Type: gpu.Discrete, Unusable: "it speaks Vulkan 1.0, at least 1.1 is needed"}
)

func TestDiagnose(t *testing.T) {
	noLoader := fmt.Errorf("gpu: %w", gpu.ErrNoLoader)
	none := fmt.Errorf("gpu: %w: nothing", gpu.ErrNoDevice)
	join := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	bare := map[string]string{"/etc/os-release": debian["/etc/os-release"]}
	for name, c := range map[string]struct {
		s       System
		devices []gpu.Info
		err     error
		says    []string // of bad findings and their commands, in order; none where it is empty
	}{
		"software and no GPU": {machine("linux", debian, nil), []gpu.Info{llvmpipe}, nil, nil},
		"nothing at all": {machine("linux", bare, nil), nil, noLoader, []string{"loader is not installed", "sudo apt install libvulkan1",
			"There is no Vulkan driver, and no GPU", "sudo apt install mesa-vulkan-drivers"}},
		"AMD without its driver": {machine("linux", with(debian, card("0x1002", "amdgpu")...), nil), []gpu.Info{llvmpipe}, nil,
			[]string{"GPU of AMD (1002:1234), but no Vulkan driver", "mesa-vulkan-drivers"}},
		"AMD, closed node": {machine("linux", with(debian, join(radeon, card("0x1002", "amdgpu"), []string{"/dev/dri/renderD128", ""})...), nil, "/dev/dri/renderD128"),
			[]gpu.Info{llvmpipe}, nil, []string{"User ada may not open /dev/dri/renderD128: permission denied", "usermod -aG render"}},
		"AMD that works": {machine("linux", with(debian, join(radeon, card("0x1002", "amdgpu"), []string{"/dev/dri/renderD128", ""})...), nil),
			[]gpu.Info{{Name: "RX 7900", Type: gpu.Discrete}, llvmpipe}, nil, nil},
		"AMD in a container": {machine("linux", with(debian, join(radeon, card("0x1002", "amdgpu"), []string{"/.dockerenv", ""})...), nil),
			[]gpu.Info{llvmpipe}, nil, []string{"container that was not given the GPU of AMD", "--device /dev/dri"}},
		"NVIDIA without its module": {machine("linux", with(debian, join(card("0x10de", ""), []string{"/usr/share/vulkan/icd.d/nvidia_icd.json", icd("libvulkan_lvp.so")})...), nil),
			[]gpu.Info{llvmpipe}, nil, []string{"No kernel driver has taken the GPU of NVIDIA", "modprobe nvidia"}},
		"NVIDIA for a guest": {machine("linux", with(debian, join(card("0x10de", "vfio-pci"), []string{"/usr/share/vulkan/icd.d/nvidia_icd.json", icd("libvulkan_lvp.so")})...), nil),
			[]gpu.Info{llvmpipe}, nil, []string{"reserved for a virtual machine", ""}},
		"a variable that leads nowhere": {machine("linux", debian, map[string]string{"VK_DRIVER_FILES": "/gone.json"}), nil, none,
			[]string{"VK_DRIVER_FILES lets the loader look only at /gone.json", "unset VK_DRIVER_FILES", "driver of /gone.json cannot load: there is no such file", ""}},
		"a driver without its library": {machine("linux", with(debian, "/etc/vulkan/icd.d/intel_icd.json", icd("libvulkan_intel.so")), nil), []gpu.Info{llvmpipe}, nil,
			[]string{"/etc/vulkan/icd.d/intel_icd.json cannot load: its library libvulkan_intel.so is in none of /usr/lib/x86_64-linux-gnu, ", "apt install --reinstall mesa-vulkan-drivers"}},
		"a driver that is no JSON": {machine("linux", with(debian, "/etc/vulkan/icd.d/odd.json", "{"), nil), []gpu.Info{llvmpipe}, nil, []string{"it is no JSON", "--reinstall"}},
		"32-bit drivers beside":    {machine("linux", with(debian, "/usr/share/vulkan/icd.d/lvp_icd.i686.json", icd("/usr/lib/i386-linux-gnu/lvp.so"), "/usr/lib/i386-linux-gnu/lvp.so", library(elf.EM_386)), nil), []gpu.Info{llvmpipe}, nil, nil},
		"32-bit drivers alone": {machine("linux", with(bare, "/usr/lib/x86_64-linux-gnu/libvulkan.so.1", x86, "/usr/share/vulkan/icd.d/lvp_icd.i686.json", icd("../../../lib/lvp.so"), "/usr/lib/lvp.so", library(elf.EM_386)), nil), nil, none,
			[]string{"its library /usr/lib/lvp.so is for 386, this program is for amd64", "--reinstall"}},
		"no device in spite of a driver": {machine("linux", debian, nil), nil, none, []string{"Drivers are installed and none gives a device", "mesa-vulkan-drivers"}},
		"no layer":                       {machine("linux", debian, nil), nil, fmt.Errorf("gpu: %w", gpu.ErrNoLayer), []string{"VKCONV_VALIDATION=1 asks for", "vulkan-validationlayers"}},
		"an old GPU":                     {machine("linux", debian, nil), []gpu.Info{llvmpipe, old}, nil, nil},
		"no cgo": {func() System { s := machine("linux", debian, nil); s.Cgo = false; return s }(), nil, gpu.ErrNoCgo,
			[]string{"built without cgo", "sudo apt install gcc"}},
		"Fedora": {machine("linux", with(nil, "/etc/os-release", "NAME=Nobara\nID=nobara\nID_LIKE=\"rhel centos fedora\""), nil), nil, noLoader,
			[]string{"loader is not installed", "dnf install vulkan-loader", "no Vulkan driver", "dnf install mesa-vulkan-drivers"}},
		"Arch": {machine("linux", with(map[string]string{"/usr/lib/libvulkan.so.1": x86, "/etc/os-release": "ID=arch"}, card("0x8086", "i915")...), nil), nil, none,
			[]string{"GPU of Intel", "pacman -S vulkan-intel"}},
		"something else": {machine("linux", with(nil, "/etc/os-release", "ID=nixos"), nil), nil, noLoader, []string{"loader is not installed", "", "no Vulkan driver", ""}},
		"macOS":          {machine("darwin", nil, nil), nil, noLoader, []string{"loader is not installed", "brew install vulkan-loader molten-vk"}},
		"macOS with MoltenVK": {machine("darwin", map[string]string{"/opt/homebrew/lib/libvulkan.1.dylib": "", "/opt/homebrew/etc/vulkan/icd.d/MoltenVK_icd.json": icd("../../../lib/libMoltenVK.dylib"),
			"/opt/homebrew/lib/libMoltenVK.dylib": ""}, nil), []gpu.Info{{Name: "Apple M2", Type: gpu.Integrated}}, nil, nil},
		"Windows": {machine("windows", nil, nil), nil, noLoader, []string{"loader is not installed", "winget install", "There is no Vulkan driver", "vendor"}},
		"Windows with a driver": {func() System {
			s := machine("windows", map[string]string{`C:\Windows\System32\vulkan-1.dll`: "", `C:\drivers\nv.json`: icd(`.\nv.dll`), `C:\drivers\nv.dll`: ""}, nil)
			s.Registry = func(kind string) []string { return map[string][]string{"Drivers": {`C:\drivers\nv.json`}}[kind] }
			return s
		}(), []gpu.Info{{Name: "RTX", Type: gpu.Discrete}}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := Look(c.s)
			var got []string
			for _, f := range Diagnose(c.s, v, c.devices, c.err) {
				if f.Bad {
					got = append(got, f.Text, f.On(v.Family))
				}
			}
			shown := strings.Join(got, "\n")
			if len(got) != len(c.says) {
				t.Fatalf("says\n%s\nwant %q", shown, c.says)
			}
			for i, says := range c.says {
				if !strings.Contains(got[i], says) || says == "" && i%2 == 1 && got[i] != "" {
					t.Errorf("says %q, want %q", got[i], says)
				}
			}
		})
	}
}

// What a survey finds, where and in which order.
func TestLook(t *testing.T) {
	files := with(debian, append(append(card("0x8086", "i915"), radeon...),
		"/home/ada/.local/share/vulkan/icd.d/mine.json", icd("./mine.so"), "/home/ada/.local/share/vulkan/icd.d/mine.so", x86,
		"/dev/dri/renderD128", "", "/dev/dri/card0", "",
		"/sys/bus/pci/devices/0000:00:02.0/class", "0x020000\n")...)
	v := Look(machine("linux", files, map[string]string{"VKCONV_DEVICE": "cpu"}, "/dev/dri/renderD128"))
	if v.System != "Debian GNU/Linux 12 (bookworm)" || v.Family != Debian || !v.Validation() || v.Container {
		t.Errorf("%+v", v)
	}
	var drivers []string
	for _, d := range v.Drivers {
		drivers = append(drivers, path.Base(d.Path)+d.Problem)
	}
	if got := strings.Join(drivers, " "); got != "mine.json lvp_icd.x86_64.json radeon_icd.x86_64.json" {
		t.Errorf("drivers are %s", got)
	}
	if len(v.Adapters) != 1 || v.Adapters[0] != (Adapter{"Intel", "8086:1234", "i915"}) {
		t.Errorf("adapters are %+v", v.Adapters)
	}
	if len(v.Nodes) != 1 || v.Nodes[0] != (Node{"/dev/dri/renderD128", fs.ErrPermission.Error()}) {
		t.Errorf("nodes are %+v", v.Nodes)
	}
	if len(v.Narrowed) != 1 || v.Narrowed[0] != "VKCONV_DEVICE=cpu" {
		t.Errorf("variables are %v", v.Narrowed)
	}
}

// This machine, whatever it has: nothing may be wrong that package gpu has not met.
func TestHost(t *testing.T) {
	s := Host(true)
	v := Look(s)
	devices, err := gpu.Devices(gpu.Options{})
	if errors.Is(err, gpu.ErrNoCgo) {
		t.Skip(err)
	}
	if err == nil && len(v.Drivers) == 0 {
		t.Errorf("%d devices, but no driver was found", len(devices))
	}
	for _, f := range Diagnose(s, v, devices, err) {
		t.Logf("%+v", f)
	}
}
