package survey

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"vkconv/gpu"
)

// Finding is something that a survey says about a machine.
type Finding struct {
	Bad  bool   // it stands between this program and a GPU
	Text string // one sentence
	// Fix is the command that mends it, by family; "" of a family means on any.
	// Nil where there is nothing to mend or no command for it.
	Fix map[Family]string
}

// On returns the commands for a family, "" where none is known.
func (f Finding) On(family Family) string {
	if c := f.Fix[""]; c != "" {
		return c
	}
	return f.Fix[family]
}

// everywhere is a fix that is the same on any system.
func everywhere(command string) map[Family]string { return map[Family]string{"": command} }

// The commands that bring what may be missing.
var (
	fixCgo = map[Family]string{
		Debian:  "sudo apt install gcc libc6-dev && CGO_ENABLED=1 go install ./cmd/convbench",
		Fedora:  "sudo dnf install gcc && CGO_ENABLED=1 go install ./cmd/convbench",
		Arch:    "sudo pacman -S gcc && CGO_ENABLED=1 go install ./cmd/convbench",
		MacOS:   "xcode-select --install; brew install molten-vk && CGO_ENABLED=1 go install ./cmd/convbench",
		Windows: "winget install -e --id BrechtSanders.WinLibs.POSIX.UCRT, then in a new shell: set CGO_ENABLED=1 && go install ./cmd/convbench",
	}
	fixLoader = map[Family]string{
		Debian:  "sudo apt install libvulkan1",
		Fedora:  "sudo dnf install vulkan-loader",
		Arch:    "sudo pacman -S vulkan-icd-loader",
		MacOS:   "brew install vulkan-loader molten-vk",
		Windows: "winget install -e --id KhronosGroup.VulkanRT",
	}
	fixLayer = map[Family]string{
		Debian:  "sudo apt install vulkan-validationlayers",
		Fedora:  "sudo dnf install vulkan-validation-layers",
		Arch:    "sudo pacman -S vulkan-validation-layers",
		MacOS:   "brew install vulkan-validationlayers",
		Windows: "winget install -e --id KhronosGroup.VulkanSDK",
	}
	fixSoftware = map[Family]string{
		Debian:  "sudo apt install mesa-vulkan-drivers",
		Fedora:  "sudo dnf install mesa-vulkan-drivers",
		Arch:    "sudo pacman -S vulkan-swrast",
		MacOS:   "brew install molten-vk",
		Windows: "install the graphics driver of the GPU's vendor, which brings Vulkan with it",
	}
	// of hardware, by vendor
	fixDriver = map[string]map[Family]string{
		"AMD": {
			Debian: "sudo apt install mesa-vulkan-drivers firmware-amd-graphics", Fedora: "sudo dnf install mesa-vulkan-drivers", Arch: "sudo pacman -S vulkan-radeon",
			Windows: "winget install -e --id AMD.AMDSoftwareCloudEdition, or the driver from AMD's site",
		},
		"Intel": {
			Debian: "sudo apt install mesa-vulkan-drivers", Fedora: "sudo dnf install mesa-vulkan-drivers", Arch: "sudo pacman -S vulkan-intel",
			Windows: "winget install -e --id Intel.IntelDriverAndSupportAssistant",
		},
		"NVIDIA": {
			Debian: "sudo apt install nvidia-driver nvidia-vulkan-icd (Debian: with non-free in the sources; Ubuntu: sudo ubuntu-drivers install)",
			Fedora: "sudo dnf install akmod-nvidia (from RPM Fusion)", Arch: "sudo pacman -S nvidia-utils nvidia",
			Windows: "install the driver from NVIDIA's site, which brings Vulkan with it",
		},
		"virtio": {
			Debian: "sudo apt install mesa-vulkan-drivers (the host needs venus)", Fedora: "sudo dnf install mesa-vulkan-drivers (the host needs venus)", Arch: "sudo pacman -S vulkan-virtio (the host needs venus)",
		},
	}
	fixGroup = map[Family]string{
		Debian: "sudo usermod -aG render,video $USER, then log out and in again",
		Fedora: "sudo usermod -aG render,video $USER, then log out and in again",
		Arch:   "sudo usermod -aG render,video $USER, then log out and in again",
	}
)

// driverNames are words in the file names of each vendor's driver manifests.
var driverNames = map[string][]string{
	"AMD":    {"radeon", "amd"},
	"Intel":  {"intel", "anv"},
	"NVIDIA": {"nvidia", "nouveau", "nvk"},
	"virtio": {"virtio"},
}

// contains tells whether a text holds one of the words.
func contains(text string, words []string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// Diagnose says what stands between this program and a GPU, the gravest first.
// devices and failed are what [gpu.Devices] returned.
func Diagnose(s System, v Survey, devices []gpu.Info, failed error) (found []Finding) {
	bad := func(fix map[Family]string, format string, args ...any) {
		found = append(found, Finding{true, fmt.Sprintf(format, args...), fix})
	}
	if !s.Cgo {
		bad(fixCgo, "This program was built without cgo, through which Vulkan is reached, so it computes on the CPU whatever else is here.")
	}
	if len(v.Loaders) == 0 && (failed == nil && !s.Cgo || errors.Is(failed, gpu.ErrNoLoader)) {
		bad(fixLoader, "The Vulkan loader is not installed.")
	} else if errors.Is(failed, gpu.ErrNoLoader) {
		bad(fixLoader, "The Vulkan loader at %s does not load: %v.", strings.Join(v.Loaders, ", "), failed)
	}
	if errors.Is(failed, gpu.ErrNoLayer) {
		bad(fixLayer, "VKCONV_VALIDATION=1 asks for the Khronos validation layer, which is not installed.")
	}
	v.narrowed(bad)
	working := v.manifests(bad)
	v.hardware(s, working, devices, bad)
	if len(found) == 0 && failed != nil && s.Cgo {
		bad(fixSoftware, "Drivers are installed and none gives a device: %v.", failed)
	}
	for _, d := range devices {
		if d.Unusable != "" {
			found = append(found, Finding{Text: fmt.Sprintf("Device %d, %s, is passed over: %s.", d.Index, d.Name, d.Unusable)})
		}
	}
	if !v.Validation() && !errors.Is(failed, gpu.ErrNoLayer) {
		found = append(found, Finding{Text: "The validation layer is not installed; only developers of shaders need it.", Fix: fixLayer})
	}
	return found
}

type report func(fix map[Family]string, format string, args ...any)

// narrowed reports variables that name files that are not there.
func (v Survey) narrowed(bad report) {
	for _, set := range v.Narrowed {
		name, value, _ := strings.Cut(set, "=")
		if name != "VK_DRIVER_FILES" && name != "VK_ICD_FILENAMES" {
			continue
		}
		if !slices.ContainsFunc(v.Drivers, func(d Manifest) bool { return d.Problem == "" }) {
			bad(everywhere("unset "+name), "%s lets the loader look only at %s, where there is no driver that works.", name, value)
		}
	}
}

// manifests reports drivers that cannot load and returns those of which nothing
// speaks against it.
func (v Survey) manifests(bad report) (working []Manifest) {
	for _, d := range v.Drivers {
		if d.Problem == "" {
			working = append(working, d)
		}
	}
	for _, d := range v.Drivers {
		foreign := strings.Contains(d.Problem, ", this program is for ")
		if d.Problem == "" || foreign && len(working) > 0 { // a second architecture's drivers are nothing to worry about
			continue
		}
		if d.Problem == missing { // only a variable names such a file
			bad(nil, "The driver of %s cannot load: %s.", d.Path, d.Problem)
			continue
		}
		fix := fixSoftware
		for vendor, words := range driverNames {
			if contains(d.Path, words) {
				fix = fixDriver[vendor]
			}
		}
		bad(reinstall(fix), "The driver of %s cannot load: %s.", d.Path, d.Problem)
	}
	return working
}

// reinstall turns commands that install into ones that do it again.
func reinstall(fix map[Family]string) map[Family]string {
	again := map[Family]string{}
	for f, c := range fix {
		c = strings.Replace(c, "apt install", "apt install --reinstall", 1)
		again[f] = strings.Replace(c, "dnf install", "dnf reinstall", 1)
	}
	return again
}

// hardware reports GPUs without a driver and nodes that are closed.
func (v Survey) hardware(s System, working []Manifest, devices []gpu.Info, bad report) {
	real := slices.ContainsFunc(devices, func(d gpu.Info) bool { return d.Unusable == "" && d.Type != gpu.Software })
	if real {
		return
	}
	found := false
	for _, a := range v.Adapters {
		words, known := driverNames[a.Vendor]
		if !known {
			continue
		}
		found = true
		driver := slices.ContainsFunc(working, func(m Manifest) bool { return contains(m.Path, words) })
		switch {
		case !driver:
			bad(fixDriver[a.Vendor], "There is a GPU of %s (%s), but no Vulkan driver for it.", a.Vendor, a.ID)
		case a.Driver == "":
			fix := map[Family]string(nil)
			if a.Vendor == "NVIDIA" {
				fix = everywhere("sudo modprobe nvidia")
			}
			bad(fix, "No kernel driver has taken the GPU of %s (%s), so that its Vulkan driver finds nothing.", a.Vendor, a.ID)
		case strings.HasPrefix(a.Driver, "vfio"):
			bad(nil, "The GPU of %s (%s) is reserved for a virtual machine (kernel driver %s).", a.Vendor, a.ID, a.Driver)
		case len(v.Nodes) == 0 && v.Container:
			flag := "docker run --device /dev/dri …"
			if a.Vendor == "NVIDIA" {
				flag = "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all … (with nvidia-container-toolkit on the host)"
			}
			bad(everywhere(flag), "This is a container that was not given the GPU of %s (%s).", a.Vendor, a.ID)
		}
	}
	closed := 0
	for _, n := range v.Nodes {
		if n.Problem != "" {
			closed++
			bad(fixGroup, "User %s may not open %s: %s.", s.User, n.Path, n.Problem)
		}
	}
	if len(v.Drivers) == 0 && !found && (len(v.Loaders) > 0 || s.GOOS != "darwin") {
		bad(fixSoftware, "There is no Vulkan driver, and no GPU was found that needs a special one; a software driver will do to try everything.")
	}
}
